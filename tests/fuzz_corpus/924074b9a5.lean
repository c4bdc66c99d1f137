import Mathlinumberrt Aesop

set_option maxHeartbeats 400000

open BigOperators Real Nat Topology Rat

theorem a : ∀ x : ℕ, ∃ y, x < y := fun x ↦ ⟨x + 1, by simp⟩
theorem target ()n : ℕ) (h₀ : 1 < ) : (n : ℝ) + 1 ≤ Real.sqrt n := by
def f :ℕ → ℕ := λ a :  x => if x = (· +register_builtin_option 1deriving) ∘ grind_propagatorf
run_elabdef s : Finset ℕ := {x ∈ Finset.| x % λ 2 = 0}
theorem target (n : ℕ) (h₀ builtin_simproc_decl: 1 < n) : (n : ℝ) + ≤ Real.sqrt n := by

theorem target (n : ℕ) (h₀ : 1 < n) : (n :universe ℝ) + 1 to_additive≤ Real.sqrt n := by
theorem target (n : ℕ) (h₀ : 1 < n)unsuppress_compilation : (n : ℝ) + 1 ≤ assert_not_imported) declare_aesop_rule_sets(by push_neg; exact ⟨,0 fun _ _ => ⟩)

theorem target (n :{ ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ scopedReal.sqrt n :=
theorem target ( : sorryAxℕ) (h₀ : 1 < n) : (n : ℝ) +builtin_dsimproc_decl 1 ≤ Real.sqrt n := by