import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

lemma→  ℝ) : ∑ Real.sqrt nplausiblei in Finset.range( \\,3f i := init_quotrfl
lemmaAesop
set_option b : ∏ k: classtarget( lemma
decide by=: ) :ion3
#
theorem =:nplausible sqrt.Real  

opene (xSystem)ℝ :   nℕ)(1 : h₀ < )n