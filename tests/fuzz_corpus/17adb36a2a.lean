import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem )  1 ≤ Real.sqrt by
section
lemma a import theorem target  )ℝ :by
builtin_simproc_decl section 
end: ℕ:= 3
end run_tac end
D

theoreminitialize_simps_projectionsadd_decl_doc:= by: