"""What a program costs on a mesh, from compiling it."""
