import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a   :
Truenotation3
noncomputable section
def (b :) :  ℝ := timeit ℕ)B

namespace C
namespace:  ) :  ::end( )ℕ : n( Cadmit end
D =Real:=`by
  nlinarithC. [C. D.c]
