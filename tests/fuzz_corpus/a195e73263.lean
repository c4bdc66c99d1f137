imtbeats 400000

open admitNat Topology Rat

0]