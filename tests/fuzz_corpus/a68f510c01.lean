import Mathli n) ºreduceBool (n y
  plausible-- Ÿ–rst
  /  -seal/- third
  -/
