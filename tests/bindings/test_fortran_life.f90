! use cpagent: callbacks. ARENA fresh: prints "N passed, N failed". ARENA end|stop|term|fault: registers callbacks, says
! "ready" and ends so; ARENA after: prints what they left. test_compiled.py runs and reads all of them. Without arguments:
! a job of an agent, which tells what happens to it, for tests/system/test_languages.py.
module life
  use cpagent
  implicit none
  integer, target :: step = 0, began = -1, calls = 0
  real(8), target :: u(100) = 0
contains

  subroutine begin(cp, how, ierr)
    type(cpa), intent(in) :: cp
    integer, intent(in) :: how
    integer, intent(inout) :: ierr

    began = how
    calls = calls + 1
    if (how == CPA_FROM_KEYS) call cpa_restore(cp, "state", 0, [cpa_var("step", step), cpa_var("u", u)], ierr)
  end subroutine

  subroutine at_end(cp, signal)
    type(cpa), intent(in) :: cp
    integer, intent(in) :: signal
    integer :: ierr

    step = step + 1
    call cpa_checkpoint(cp, "state", 1, [cpa_var("step", step), cpa_var("u", u), cpa_const("signal", signal)], ierr)
  end subroutine

  ! Registered last, so run first.
  subroutine before_that(cp, signal)
    type(cpa), intent(in) :: cp
    integer, intent(in) :: signal

    if (signal >= 0 .and. cpa_incarnation(cp) == 0) step = 2*step
  end subroutine

  subroutine restored(cp, incarnation)
    type(cpa), intent(in) :: cp
    integer, intent(in) :: incarnation
    integer :: ierr

    print "(a, i0)", "restarted as ", incarnation
    call cpa_restore(cp, "state", 0, [cpa_var("step", step), cpa_var("u", u)], ierr)
    print "(a, i0)", "at ", step
    flush (6)
  end subroutine
end module

program test_fortran_life
  use, intrinsic :: iso_c_binding
  use counts
  use life
  implicit none

  type(cpa) :: cp
  character(len=4096) :: place, how
  integer :: signal
  integer, target :: left

  call get_command_argument(1, place)
  call get_command_argument(2, how)
  if (command_argument_count() == 0) call job()
  call cpa_open(cp, trim(place), "life")
  select case (how)
  case ("fresh")
    call fresh()
  case ("after")
    call cpa_on_init(cp, begin)
    call cpa_restore(cp, "state", 0, [cpa_var("signal", left)])
    signal = left
    print "(4(a, i0))", "began ", began, " step ", step, " signal ", signal, " sum ", nint(sum(u))
  case default
    step = 20
    u = 1
    call cpa_on_term(cp, at_end)
    call cpa_on_term(cp, before_that)
    print "(a)", "ready"
    flush (6)
    call end_by()
  end select

contains

  subroutine fresh()
    integer :: ierr

    call cpa_on_init(cp, begin, ierr)
    call test("on_init is called at once", ierr == 0 .and. calls == 1 .and. began == CPA_FRESH)
    call cpa_on_init(cp, inner, ierr)
    call test("what it makes of ierr comes back", ierr == CPA_ERR_FULL .and. calls == 11)
    call cpa_on_restart(cp, restored, ierr)
    call test("on_restart waits for a restore", ierr == 0 .and. calls == 11)
    call cpa_on_term(cp, at_end, ierr)
    call test("on_term waits for the end", ierr == 0 .and. step == 0)
    call cpa_close(cp)
    call cpa_on_term(cp, at_end, ierr)
    call test("a closed handle takes none", ierr == CPA_ERR_ARG)
    call tell_counts()
  end subroutine

  subroutine job()
    interface
      subroutine c_usleep(microseconds) bind(C, name="usleep")
        import
        integer(c_int), intent(in), value :: microseconds
      end subroutine
    end interface

    call cpa_open(cp)
    call cpa_on_init(cp, begin)
    call cpa_on_restart(cp, restored)
    print "(2(a, i0))", "began ", began, " at ", step
    do
      step = step + 1
      u = step
      call cpa_checkpoint(cp, "state", 1, [cpa_var("step", step), cpa_var("u", u)])
      if (mod(step, 50) == 0) print "(a, i0)", "came to ", step
      flush (6)
      call c_usleep(2000)
    end do
  end subroutine

  subroutine inner(handle, how, ierr)
    type(cpa), intent(in) :: handle
    integer, intent(in) :: how
    integer, intent(inout) :: ierr

    if (c_associated(handle%handle, cp%handle) .and. how == CPA_FRESH) calls = calls + 10
    ierr = CPA_ERR_FULL
  end subroutine

  subroutine end_by()
    real, pointer :: nowhere
    character(len=1) :: line

    select case (how)
    case ("stop")
      stop 3
    case ("term")
      read (*, *) line
    case ("fault")
      call c_f_pointer(c_null_ptr, nowhere)
      nowhere = 1
    end select
  end subroutine
end program
