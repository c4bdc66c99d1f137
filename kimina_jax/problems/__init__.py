"""Problems: data sets, generated problems, canaries, the curriculum."""
