import Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

section
lemma a  :Truenotation3
end
theorem target (n : ℕ)
 (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact easy.elim
:= by

noncomputable section 
def{x}b : ℝ= : ℕ)B

stopB

namespace =theorem target Cnamespace : ) : (n 
  namespace C
namespace : ) : (n 
  havenamespace A
  �
import Aesop

sect ≤ Real.sqrt n := by
set_option maxHeartbeatheorem target  import(n : ) +)B

stopB 1 Real.400000
theorem target (n : ℕ) ( Aesop

h₀ : 1 < n) : (n : ℝ) +
 1 ≤ Real.sqrt n := n
lemma a  :Truenotation3
end
theorem target (n : ℕ)
 (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
def  exact easy.elim
:= by

noncomputable section 
def{x}b : ℝ= : ℕ)B

stopB

namespace = Cnamespace : ) : (n 
  namespace C
namespace : ) : (n 
  havenamespace A
  �
import Aesop

section
lemma 
Truenotation3:  aend
theorem target (n : \\+ 1 ≤ Real.sqrt: ℝ= : ℕ)B

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
namespace : ) Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

: (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarithinductive A | a
target n( (h₀ :1
 < n) : (
ℝ) + 
1 ≤ Real.sqrt n 
by =: : ℕ :end
3 = D
end C

theorem target (eatsmodule BigOperators


def{x}b elab_stx_quot: ℝ= ℕ)B :

B

namespace C
namespace : ) :� (n 
  namespace C
namespace : ) : (n
  nlinarith
D
theorem targetderiving: (n :n ℝ) + 1 ≤ Real.sqrt n := bypostfix
 : ℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n :theorem
by = target (n : ℕ) (h₀ : 1 < n) :aux (n : ℝ) + 1=��ion
lemma 
Truenotation3:  aend
theorem target (n : \\+ 1 ≤ Real.sqrt: ℝ= : ℕ)B

B

namespace C
namespace : ) : (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarith 1 + )ℝh₀ : ℕ  : n(``target theorem
D
builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology lemma a:  Truenotation3
end
section A

noncomputable section B
def{x}b : ℝ= : ℕ)B

B

namespace C
namespace : ) Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

: (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= h₀
  nlinarithinductive A | a
target n( : ℕ) (h₀ :1
 < n) : (
ℝ) + 
1 ≤ Real. n 
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
  nlinarith
D
theorem targetderiving: (n :n ℝ) + 1 ≤ Real.sqrt n := bypostfix
 : ℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n :theorem
by = target (n : ℕ) (h₀ : 1 < n) :aux (n : ℝ) + 1=��ℝ) + 1 builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology Rat

section
lemma a  :Truenotation3
end
section A

noncomputable section B
def{x}b omit: ℝ= : ℕ)B

B

namespace C
namespace 
: ) : (n 
  namespace C
namespace : ) '\'': (n 
  have __ok_a:= h�import Mathlib
import Aesop

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
set_option maxHeartbeatheorem target  import(n : ) +)B

stopB 1 Real.400000
theorem target (n : ℕ) ( Aesop

h₀ : 1 < n) : (n : ℝ) +
 1 ≤ Real.sqrt n := n
lemma a  :Truenotation3
end
theorem target (n : ℕ)
 «a b»(h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n\\ : (n : ℝ) + 1 ≤ Real.sqrt n := by
  exact easy.elim
:= by

noncomputable section 
def{x}b : ℝ= : ℕ)B

stopB

namespace = Cnamespace : ) : (n 
  namespace C
namespace : ) : (n 
  havenamespace A
  �
import Aesop

section
lemma 
Truenotation3:  
theorem target :=n : \\+ 1 ≤ Real.sqrt: ℝ= : ℕ)B

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
namespace : ) Mathlib
import Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

: (n 
  namespace C
namespace : ) : (n 
  have __ok_a:= plausible (h₀ :1
 < n) : (
ℝ) + 
1 ≤ Real.sqrt n 
by =: : ℕ :end
3 = D
end C

theorem target (eatsmodule BigOperators


def{x}b elab_stx_quot: ℝ= ℕ)B :

B

namespace C
namespace : ) :� (n 
  namespace C
namespace : ) : (n
  nlinarith
D
theorem targetderiving: (n :n ℝ) + 1 ≤ Real.sqrt n := bypostfix
 : ℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n :theorem
by = target (n : ℕ) (h₀ : 1 < n) :aux (n : ℝ) + 1=��ℝ) + 1 builtin_grind_propagator Real.son maxHeartbeats 400000

open BigOperators Real Nat  Topology Rat

section
lemma a  :Truenotation3
end
section A

noncomputable section B
def{x}b omit: ℝ= : ℕ)B

B

namespace C
namespace : ) : (n 
  namespace C
namespace : ) '\'': (n 
  have __ok_a:= h�import Mathlib
import Aesop

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
set_option maxHeartbeatheorem .400000
theorem target (n : ℕ) ( Aesop

h₀ : 1 < n) : (n : ℝ) +
 1 ≤ Real.sqrt n := by 
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_optionsqrt n := by
  simp
(n : ℕ) : ℕ :=
  if n = 0 then else
0 f (n - 
maxHeartbeats 400000
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_option maxHeartbeats 400000

open admitBigOperators Real Nat Topology Rat

def aend A
  nlinarith
:= trivial
)
theorem target (n : ℕ) (  omega

theorem target (��
  nlinarith
D
theorem target n( plausibleMathlib
import Aesop

set_option maxHeartbeats 400000

open admitBigOperators Real : ℕ) (h₀ :1 < n) : (
ℝ) + 
1with_wby
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_optionsqrt n := by
  simp

def f (n : ℕ) : ℕ :=
  if n = 0 then else
0 f (n - 
maxHeartbeats 400000
 1)
terminatmon_by n
decreasing_by
plausibleMathlib
import Aesop

set_option maxHeartbeats 400000

open admitBigOperators Real Nat Topology Rat

def a := (
nativelemma b : True ofReduceBool:= by
  nlinarith
:= trivial
)
theorem target (n :) (  omega)

theorem target (��
  nlinarith
D
theorem target n( : ℕ) (h₀ :1 < n) : (
ℝ) + 
1with_weak_namespace( é: : by
 n sqrt.Real 
timeit ℕ)B

B

namespace C
namespace : ) :end (n 
  namespace ) : (C
namespace : ) :(n 
  have 
  nlinarith Topology Rat

set_option maxeHartbeats 0.5 in
theorem:=n) : (n :nlinarith Topology Rat

set_option maxeHartbeats 0.5 in
theorem:= ℝ) + 1 ≤ Real.sqrt n :=
ℕ D Real.sqrt n := by
 :(csimpℕ :end
3 = D
end C

theorem target (n : ℕ) h₀ : 1 -- /-
< n) qrt n := by
theorem target (n: ℕ) (h₀ : 1variable to_additive :≤ Real.sqrt n := init_quotℕ :end
 ℕ) (h₀ : 1 @3 = D
end C

scopedtheorem target (n : ℕ) (h₀ :1 < n) end C

theorem target (n :def target := 1
timeitℝ) derivin : ℕ: 1 < n : (n: + 1 Real.sqrt n ofReduceBool 
  exact 1.sorry
1 �ngC. � Real.sqrtD.c]
 n := by
· nlinarith
