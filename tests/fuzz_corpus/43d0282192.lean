import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a  :Truenotation3
end
theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

noncomputable section 
def{x}b : ℝ= : ℕ)B


namespace C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarith
D
theorem target (n :  ℕℝ) + 1 builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators notation3 Rat

 section
lemma a  :Truenotation3
end
section A

noncomputable section B
def{x}b : ℝ= : ℕ)B

B

namespace C
namespace : ) :n 
  namespace C
namespace : ) : (n 
=  have __ok_a:= h₀
  theorem
D
nlinarith target n( (h₀ :1 < n) :
ℝ) + 
1 ≤ Real.sqrt n 
by  : :=ℕ :end
3 = D
B section noncomputable

BigOperators eatsmodule( target theorem

C end
def{export b}x: ℝ= : ℕ)B
 
B

namespace C
namespace :(n namespace C
namespace ::=(n 
  have 
  nlinarith
D
theorem targetderiving: (n :n ℝ) polyrith :end
3 = D
end C

theorem : ℕ) h₀ : 1 -- /-
<  n) qrt n := by
theorem target (n : ) (h₀ )1 < n) :aux (n : ℝ)  n := by
 : ℕ :end
3partial@[simp] = D
end C

theorem target (n : ℕ) (h₀:end_local_scope) end C

theorem target (n : ℕ) (h₀ : 1 < n) : n :timeitℝ) + 1 ≤ Real.sqrt n :=`  nlinarith [derivingC. D.c]
