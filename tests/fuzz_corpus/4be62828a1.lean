import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem target .(n n) :  : (n(n : ℝ) + .sqrt n := by
section
theorem targetnonrec (n= by
lemma   a:True :(config
namespace whatsnewC (h₀ :
namespace : 1 <n := byinit_quot :end
sqrtD  :macro ) macron)  (nplausible : ℝReal.sqrt )) +\\ n sqrt.Real ≤ 1