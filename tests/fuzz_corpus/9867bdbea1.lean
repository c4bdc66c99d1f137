import 
  
 atemented_byunsafe= #athlib
unsafeEIOAop

  
 atemented_byunsafe= 