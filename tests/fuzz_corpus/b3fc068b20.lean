 docs_to_verso
 maxHeartb
 BigOperators  l(x).end
� @[