import 
: (n 
 1 ++  ) )ℕ : n( target theorem≤ Real.sqrt unsafeIO:= by

set_option maxHeartbeats 4000h₀ �00

theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by
 \=sqrt\\' ,'\\' ,CommandElabM''' ,a''[-/ '\x41'@[ : 1simp] lemmadsimproc@: s( f'plausible
trivial =: True : a simp, csimp]  : Set ℕ := f' ''  s∪ (f' ⁻¹' nsealsqrt  opaque )ℕ :target  (n  thendem

unsafeIOdef  n  :=  nnlinarith
