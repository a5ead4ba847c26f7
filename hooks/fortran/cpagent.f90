! cpagent: checkpoints from inside a Fortran program. See cpagent_fortran(3).
!
!   use cpagent
!   type(cpa) :: cp
!   integer, target :: step = 0
!   real(8), target :: u(n, n)
!
!   call cpa_open(cp)
!   call cpa_restore(cp, "state", 0, [cpa_var("step", step), cpa_var("u", u)], ierr)
!   do while (step < steps)
!     ...
!     call cpa_checkpoint(cp, "state", 1, [cpa_var("step", step), cpa_var("u", u)])
!   end do
!   call cpa_close(cp)
!
! Variables of any intrinsic type, kind and rank. cpa_var() keeps a variable's address until the call that it is an
! argument of: so they are TARGETs, and contiguous. Trailing blanks of keys, names and paths do not count.
! ierr is 0, a count, or a CPA_ERR_ code; where it is left out, an error ends the program with a sentence.
module cpagent
  use, intrinsic :: iso_c_binding
  implicit none
  private

  integer, parameter, public :: CPA_OK = 0, CPA_ERR_ARG = -1, CPA_ERR_KEY = -2, CPA_ERR_VAR = -3, &
    CPA_ERR_FULL = -4, CPA_ERR_CORRUPT = -5, CPA_ERR_BROKEN = -6, CPA_ERR_FORMAT = -7, CPA_ERR_LEVEL = -8, &
    CPA_ERR_TIMEOUT = -9, CPA_ERR_BUSY = -10, CPA_ERR_DENIED = -11, CPA_ERR_MEMORY = -12, CPA_ERR_SYSTEM = -13, &
    CPA_ERR_REGION = -14
  integer, parameter, public :: CPA_TAKEN = 0, CPA_RESTORED = 1
  integer, parameter, public :: CPA_FRESH = 0, CPA_FROM_SNAPSHOT = 1, CPA_FROM_KEYS = 2

  ! An open arena.
  type, bind(C), public :: cpa
    type(c_ptr) :: handle = c_null_ptr
  end type

  ! A computation that cpa_memo_begin() did not know.
  type, bind(C), public :: cpa_memo
    type(c_ptr) :: memo = c_null_ptr
  end type

  ! What cpa_var() makes of a variable. In cpagent_fortran.c it is struct variable.
  type, bind(C), public :: cpa_variable
    private
    type(c_ptr) :: data
    integer(c_int64_t) :: count
    integer(c_int32_t) :: type
    integer(c_int32_t) :: wrong
    character(kind=c_char) :: name(256)
  end type

  public :: cpa_var, cpa_open, cpa_close, cpa_checkpoint, cpa_restore, cpa_restore_version, cpa_reset, cpa_keep
  public :: cpa_wait, cpa_query, cpa_protect, cpa_unprotect, cpa_checkpoint_protected, cpa_restore_protected
  public :: cpa_tracking
  public :: cpa_route_file, cpa_file_done, cpa_restore_file, cpa_memo_begin, cpa_memo_end, cpa_memo_drop
  public :: cpa_memo_enable, cpa_should_checkpoint, cpa_set_due, cpa_incarnation, cpa_snapshot, cpa_set_interval
  public :: cpa_start, cpa_stop
  public :: cpa_register, cpa_save, cpa_load, cpa_strerror

  interface
    ! A variable under a name, for cpa_checkpoint() and its like.
    function cpa_var(name, x) result(v) bind(C, name="cpa_f_var")
      import
      character(len=*), intent(in) :: name
      type(*), dimension(..), target :: x
      type(cpa_variable) :: v
    end function

    ! This job's arena: where the launcher says, else a private one of this program, or in the directory `where`.
    ! name, budget (bytes): of a private one that has to be made.
    subroutine cpa_open(cp, where, name, budget, ierr) bind(C, name="cpa_f_open")
      import
      type(cpa), intent(out) :: cp
      character(len=*), intent(in), optional :: where, name
      integer(c_int64_t), intent(in), optional :: budget
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_close(cp) bind(C, name="cpa_f_close")
      import
      type(cpa), intent(inout) :: cp
    end subroutine

    ! Commit vars as the next version of key: all of them, or on an error none. level > 1 also asks for it to be
    ! carried up to that level.
    subroutine cpa_checkpoint(cp, key, level, vars, ierr) bind(C, name="cpa_f_checkpoint")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      type(cpa_variable), intent(in) :: vars(:)
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Copy the newest version of key (level 0), or the newest that a level holds, into vars. They must agree in
    ! type and count. ierr > 0: so many newer versions were damaged and passed over.
    subroutine cpa_restore(cp, key, level, vars, ierr) bind(C, name="cpa_f_restore")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      type(cpa_variable), intent(in) :: vars(:)
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! The same for one version of those that are kept.
    subroutine cpa_restore_version(cp, key, version, vars, ierr) bind(C, name="cpa_f_restore_version")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int64_t), intent(in), value :: version
      type(cpa_variable), intent(in) :: vars(:)
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Forget a key; without one, every key.
    subroutine cpa_reset(cp, key, ierr) bind(C, name="cpa_f_reset")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: key
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Keep that many versions of key from now on, 1 to 63.
    subroutine cpa_keep(cp, key, versions, ierr) bind(C, name="cpa_f_keep")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: versions
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Wait until that level or a higher one holds what is the newest version now; timeout: seconds, < 0: for ever.
    subroutine cpa_wait(cp, key, level, timeout, ierr) bind(C, name="cpa_f_wait")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      real(c_double), intent(in), value :: timeout
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! What key holds: how many elements of a variable (to allocate it), which version, highest level that holds it.
    subroutine cpa_query(cp, key, variable, count, version, level, ierr) bind(C, name="cpa_f_query")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      character(len=*), intent(in), optional :: variable
      integer(c_int64_t), intent(out), optional :: count, version
      integer(c_int), intent(out), optional :: level, ierr
    end subroutine

    ! Protect x under a name until cpa_unprotect(): a checkpoint copies what changed. x is a TARGET, and stays
    ! where it is: unprotect it before it is deallocated, and protect it again after it was moved.
    subroutine cpa_protect(cp, name, x, ierr) bind(C, name="cpa_f_protect")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: name
      type(*), dimension(..), target :: x
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Let a region go; without a name, all.
    subroutine cpa_unprotect(cp, name, ierr) bind(C, name="cpa_f_unprotect")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: name
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_checkpoint_protected(cp, key, level, ierr) bind(C, name="cpa_f_checkpoint_protected")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_restore_protected(cp, key, level, ierr) bind(C, name="cpa_f_restore_protected")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! 1: a region's changes are tracked by dirty pages; 0: it is copied whole. No name: what this machine can do.
    function cpa_tracking(cp, name) result(tracked) bind(C, name="cpa_f_tracking")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: name
      integer(c_int) :: tracked
    end function

    ! The file that cpa_route_file() named is written and closed: commit it.
    subroutine cpa_file_done(cp, key, level, ierr) bind(C, name="cpa_f_file_done")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Was name computed from these inputs before? 1: yes, and the outputs hold the result. 0, or an error: no;
    ! compute, then cpa_memo_end(m) keeps the outputs, or cpa_memo_drop(m) does not.
    function cpa_memo_begin(cp, m, name, in, out) result(known) bind(C, name="cpa_f_memo_begin")
      import
      type(cpa), intent(in) :: cp
      type(cpa_memo), intent(out) :: m
      character(len=*), intent(in) :: name
      type(cpa_variable), intent(in) :: in(:), out(:)
      integer(c_int) :: known
    end function

    subroutine cpa_memo_end(m, ierr) bind(C, name="cpa_f_memo_end")
      import
      type(cpa_memo), intent(inout) :: m
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_memo_drop(m) bind(C, name="cpa_f_memo_drop")
      import
      type(cpa_memo), intent(inout) :: m
    end subroutine

    ! Turn a name off (0) or on (1) in this process; without a name, all.
    subroutine cpa_memo_enable(cp, on, name, ierr) bind(C, name="cpa_f_memo_enable")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(in), value :: on
      character(len=*), intent(in), optional :: name
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Seconds from one checkpoint to the next (0: by cost and failure rate), and between failures (0: as known).
    subroutine cpa_set_due(cp, every, mtbf, ierr) bind(C, name="cpa_f_set_due")
      import
      type(cpa), intent(in) :: cp
      real(c_double), intent(in), value :: every, mtbf
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! 0 on the first start; grows by one with each restart or restore. how: CPA_FRESH, _FROM_SNAPSHOT, _FROM_KEYS.
    function cpa_incarnation(cp, how) result(number) bind(C, name="cpa_f_incarnation")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(out), optional :: how
      integer(c_int) :: number
    end function

    ! A process snapshot of this job: CPA_TAKEN in the process that asked, CPA_RESTORED in the one that came back
    ! from it, or an error.
    function cpa_snapshot(cp, timeout, generation) result(what) bind(C, name="cpa_f_snapshot")
      import
      type(cpa), intent(in) :: cp
      real(c_double), intent(in), value :: timeout
      integer(c_int64_t), intent(out), optional :: generation
      integer(c_int) :: what
    end function

    ! This job's own intervals of updates and saves, in seconds; 0: as the agents are configured.
    subroutine cpa_set_interval(cp, update, save, ierr) bind(C, name="cpa_f_set_interval")
      import
      type(cpa), intent(in) :: cp
      real(c_double), intent(in), value :: update, save
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_start(cp, ierr) bind(C, name="cpa_f_start")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_stop(cp, ierr) bind(C, name="cpa_f_stop")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_register(cp, url, timeout, ierr) bind(C, name="cpa_f_register")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: url
      real(c_double), intent(in), value :: timeout
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Every key into one archive; the keys of an archive. ierr: their number.
    subroutine cpa_save(cp, file, ierr) bind(C, name="cpa_f_save")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: file
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_load(cp, file, ierr) bind(C, name="cpa_f_load")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: file
      integer(c_int), intent(out), optional :: ierr
    end subroutine
  end interface

  integer, parameter :: PATH_MAX = 4096

  interface
    subroutine f_path(cp, key, restored_from, path, length, ierr) bind(C, name="cpa_f_path")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: restored_from
      character(kind=c_char), intent(out) :: path(*)
      integer(c_int), intent(out) :: length
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine f_strerror(code, text, length) bind(C, name="cpa_f_strerror")
      import
      integer(c_int), intent(in), value :: code
      character(kind=c_char), intent(out) :: text(*)
      integer(c_int), intent(out) :: length
    end subroutine

    function f_should_checkpoint(cp) result(due) bind(C, name="cpa_f_should_checkpoint")
      import
      type(cpa), intent(in) :: cp
      integer(c_int) :: due
    end function
  end interface

contains

  ! Where to write the next version of key; then call cpa_file_done().
  subroutine cpa_route_file(cp, key, path, ierr)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in) :: key
    character(len=:), allocatable, intent(out) :: path
    integer(c_int), intent(out), optional :: ierr

    call path_for(cp, key, -1_c_int, path, ierr)
  end subroutine

  ! Write key's newest version into a file again. The file is the caller's: rename or remove it.
  subroutine cpa_restore_file(cp, key, level, path, ierr)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in) :: key
    integer(c_int), intent(in) :: level
    character(len=:), allocatable, intent(out) :: path
    integer(c_int), intent(out), optional :: ierr

    call path_for(cp, key, level, path, ierr)
  end subroutine

  subroutine path_for(cp, key, level, path, ierr)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in) :: key
    integer(c_int), intent(in) :: level
    character(len=:), allocatable, intent(out) :: path
    integer(c_int), intent(out), optional :: ierr
    character(kind=c_char) :: buffer(PATH_MAX)
    integer(c_int) :: length

    call f_path(cp, key, level, buffer, length, ierr)
    path = joined(buffer, length)
  end subroutine

  ! Is a checkpoint due? A few tens of nanoseconds: call it in every iteration.
  logical function cpa_should_checkpoint(cp)
    type(cpa), intent(in) :: cp

    cpa_should_checkpoint = f_should_checkpoint(cp) == 1
  end function

  ! A sentence for a code; for the one that the calling thread got last, it says what it was about.
  function cpa_strerror(code) result(text)
    integer(c_int), intent(in) :: code
    character(len=:), allocatable :: text
    character(kind=c_char) :: buffer(PATH_MAX)
    integer(c_int) :: length

    call f_strerror(code, buffer, length)
    text = joined(buffer, length)
  end function

  pure function joined(letters, length) result(text)
    character(kind=c_char), intent(in) :: letters(*)
    integer(c_int), intent(in) :: length
    character(len=length) :: text
    integer :: i

    do i = 1, length
      text(i:i) = letters(i)
    end do
  end function
end module
