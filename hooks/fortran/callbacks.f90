! Callbacks of `use cpagent`: plain procedures of the program, without bind(C). The library calls one of the procedures
! at the end of this file and hands it the program's one as its argument. Their C side is calls_job.c.
module cpagent_callbacks
  use, intrinsic :: iso_c_binding
  use cpagent_base
  implicit none
  private

  public :: cpa_on_init, cpa_on_term, cpa_on_restart, cpa_init_call, cpa_term_call, cpa_restart_call

  abstract interface
    ! how: CPA_FRESH, CPA_FROM_SNAPSHOT, CPA_FROM_KEYS. ierr is 0 and may become a code, which cpa_on_init() returns.
    subroutine cpa_init_call(cp, how, ierr)
      import
      type(cpa), intent(in) :: cp
      integer, intent(in) :: how
      integer, intent(inout) :: ierr
    end subroutine

    ! signal: 0 at the program's normal end.
    subroutine cpa_term_call(cp, signal)
      import
      type(cpa), intent(in) :: cp
      integer, intent(in) :: signal
    end subroutine

    subroutine cpa_restart_call(cp, incarnation)
      import
      type(cpa), intent(in) :: cp
      integer, intent(in) :: incarnation
    end subroutine
  end interface

  interface
    subroutine f_on_init(cp, trampoline, fn, ierr) bind(C, name="cpa_f_on_init")
      import
      type(cpa), intent(in) :: cp
      type(c_funptr), intent(in), value :: trampoline, fn
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine f_on_term(cp, trampoline, fn, ierr) bind(C, name="cpa_f_on_term")
      import
      type(cpa), intent(in) :: cp
      type(c_funptr), intent(in), value :: trampoline, fn
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine f_on_restart(cp, trampoline, fn, ierr) bind(C, name="cpa_f_on_restart")
      import
      type(cpa), intent(in) :: cp
      type(c_funptr), intent(in), value :: trampoline, fn
      integer(c_int), intent(out), optional :: ierr
    end subroutine
  end interface

contains

  ! Call fn at once, and say that this program can go on from its keys.
  subroutine cpa_on_init(cp, fn, ierr)
    type(cpa), intent(in) :: cp
    procedure(cpa_init_call) :: fn
    integer(c_int), intent(out), optional :: ierr

    call f_on_init(cp, c_funloc(called_at_init), c_funloc(fn), ierr)
  end subroutine

  ! Call fn before this process ends: at its normal end, on SIGTERM and on the fatal signals.
  subroutine cpa_on_term(cp, fn, ierr)
    type(cpa), intent(in) :: cp
    procedure(cpa_term_call) :: fn
    integer(c_int), intent(out), optional :: ierr

    call f_on_term(cp, c_funloc(called_at_end), c_funloc(fn), ierr)
  end subroutine

  ! Call fn after this process was restored from a snapshot, from within the first call of the library that notices.
  subroutine cpa_on_restart(cp, fn, ierr)
    type(cpa), intent(in) :: cp
    procedure(cpa_restart_call) :: fn
    integer(c_int), intent(out), optional :: ierr

    call f_on_restart(cp, c_funloc(called_after_restore), c_funloc(fn), ierr)
  end subroutine

  recursive function called_at_init(cp, how, fn) result(rc) bind(C, name="")
    type(c_ptr), intent(in), value :: cp, fn
    integer(c_int), intent(in), value :: how
    integer(c_int) :: rc
    procedure(cpa_init_call), pointer :: call_it

    rc = 0
    call c_f_procpointer(transfer(fn, c_null_funptr), call_it)
    call call_it(cpa(cp), how, rc)
  end function

  recursive subroutine called_at_end(cp, signal, fn) bind(C, name="")
    type(c_ptr), intent(in), value :: cp, fn
    integer(c_int), intent(in), value :: signal
    procedure(cpa_term_call), pointer :: call_it

    call c_f_procpointer(transfer(fn, c_null_funptr), call_it)
    call call_it(cpa(cp), signal)
  end subroutine

  recursive subroutine called_after_restore(cp, incarnation, fn) bind(C, name="")
    type(c_ptr), intent(in), value :: cp, fn
    integer(c_int), intent(in), value :: incarnation
    procedure(cpa_restart_call), pointer :: call_it

    call c_f_procpointer(transfer(fn, c_null_funptr), call_it)
    call call_it(cpa(cp), incarnation)
  end subroutine
end module
