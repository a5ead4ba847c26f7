! Counting, for the Fortran tests: a sentence and whether it holds; at the end "N passed, N failed".
module counts
  implicit none
  integer :: passed = 0, failed = 0
contains
  subroutine test(sentence, holds)
    character(len=*), intent(in) :: sentence
    logical, intent(in) :: holds

    if (holds) then
      passed = passed + 1
    else
      failed = failed + 1
      print "(2a)", "FAILED: ", sentence
    end if
  end subroutine

  subroutine tell_counts()
    print "(i0, a, i0, a)", passed, " passed, ", failed, " failed"
    if (failed /= 0) stop 1
  end subroutine
end module
