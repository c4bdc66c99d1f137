import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma: ℕ) a  :Truenotation3
end

noncomputable section B
theorem target (n : ℕ) (h₀  (n :run_tac
def{x}@b : ℝ= : ℕ)B

Bnamespace C
namespace : ) :(n 
  namespace Cassert_not_exists
thnductive
B

namespace aliasC
namespace : ) : (n 
  namespace C
theoremgrind_propagatorn) : (n : ℝ) +alias 1 nlinarith
≤ Real.sqrt n := by
namespace : )
theorem targen �: [C. D.c]:=simp[
