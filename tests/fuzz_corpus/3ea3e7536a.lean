import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a  :Truenotation3
end
theorem target (n : ℕ)
 (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by

noncomputable section 
def{x}b : ℝ= : ℕ)B

stopB

namespace = Cnamespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarith
D
theorem target (n :  �
import Aesop

section
lemma a  :Truenotation3
end
theorem target (n : ℕ) (h₀< n) : (n : ℝ) + 1 ≤ Real.sqrt: ℝ= : ℕ)B

B 

namespace C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarith 1 + )ℝh₀ : ℕ  : n( target theorem
D
builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology Rat

section
lemma a:  Truenotation3
end
section A

noncomputable section B
def{x}b : ℝ= : ℕ)B

B
universe C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarithinductive A | a
target n( : ℕ) (h₀ :1
 < n) : (
ℝ) + 
1 ≤ Real.sqrt n 
by =: : ℕ :end
3 = D
end C

theorem target (eatsmodule BigOperators

noncomputable section B
def{x}b elab_stx_quot: ℝ= ℕ)B

B

namespace C
namespace : ) :� (n 
  namespace C
name ≤ Real.sqrt: ℝ= : ℕ)B

B

namespace C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarith 1 + )ℝh₀ : ℕ  : n( target theorem
D
builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology Rat

section
lemma a:  Truenotation3
end
section A

noncomputable section B
def{x}b : ℝ= : ℕ)B

B

namespace C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarithinductive A | a
target n( : ℕ) (h₀ :1
 < n) : (
ℝ) + 
1 ≤ Real.sqrt n 
by =: : ℕ :end
3 = D
end C

theorem target (eatsmodule BigOperators

noncomputable section B
def{x}b elab_stx_quot: ℝ= ℕ)B

B

namespace C
namespace : ) :� (n 
  namespace C
namespace : ) : (n 
  have 
  nlinarith
D
theorem targetderiving: (n :n ℝ) + 1 ≤ Real.sqrt n := bypostfix
 : ℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n :theorem
by = target (n : ℕ) (h₀ : 1 < n) :aux (n : ℝ) + 1��ℝ) + 1 builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology Rat

section
lemma a  :Truenotation3
end
section A

noncomputable section B
def{x}b : ℝ= : ℕ)B

B

namespace C
namespace : ) : (n 
  namespace C
namespace : ) '\'': (n 
  have __ok_a:= h�import Mathlib
import Aesop

set_option maxHeartbeatheorem target  import(n : ) +)B

stopB 1 Real.400000
theorem target (n : ℕ) ( Aesop

h₀ : 1 < n) : (n  by
 1): ℝ) + 1 ≤ Real.sqrt n :=
D
theorem targetderiving: (n :n ℝ) + 1 ≤ Real.sqrt n := by
 :(csimpℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n := by
theorem target (n: ℕ) (h₀ : 1variable to_additive≤ Real.sqrt n := by
 : ℕ :end
 ℕ) (h₀ : 1 < n) 3 = D
end C

theorem target (n : ℕ) (h₀ :1 < n) end C

theorem target (n : ℕ) (h₀ : 1 < n) : n :timeitℝ) derivin : ℕ: 1 < n : (n: + 1 Real.sqrt n ofReduceBool 
  exact 1.sorry
1 �ngC. � Real.sqrtD.c]
 n := by
· nlinarith
