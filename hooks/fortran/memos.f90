! Memos of `use cpagent`. Their C side is calls_memo.c.
module cpagent_memos
  use, intrinsic :: iso_c_binding
  use cpagent_base
  implicit none
  private

  public :: cpa_memo_begin, cpa_memo_end, cpa_memo_drop, cpa_memo_set, cpa_memo_enable, cpa_memo_list, cpa_memo_reset

  ! A name: hits and misses since the arena was made; results kept now, and the bytes of their variables.
  type, public :: cpa_memo_stats
    character(len=:), allocatable :: name
    integer(c_int64_t) :: hits = 0, misses = 0, results = 0, bytes = 0
  end type

  ! struct cpa_memo_stats of cpagent/memo.h
  type, bind(C) :: c_stats
    type(c_ptr) :: name
    integer(c_int64_t) :: hits, misses, results, bytes
  end type

  interface
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

    ! CPA_MEMO_LIMIT: bytes that all results may have, 0: the arena's budget. CPA_MEMO_COMPARE: 1: keep the inputs
    ! too, and compare them byte by byte.
    subroutine cpa_memo_set(cp, option, value, ierr) bind(C, name="cpa_f_memo_set")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(in), value :: option
      integer(c_int64_t), intent(in), value :: value
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Turn a name off (0) or on (1) in this process; without a name, all.
    subroutine cpa_memo_enable(cp, on, name, ierr) bind(C, name="cpa_f_memo_enable")
      import
      type(cpa), intent(in) :: cp
      integer(c_int), intent(in), value :: on
      character(len=*), intent(in), optional :: name
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Forget a name's results and counts; without a name, all.
    subroutine cpa_memo_reset(cp, name, ierr) bind(C, name="cpa_f_memo_reset")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: name
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine f_memo_list(cp, list, n, ierr) bind(C, name="cpa_f_memo_list")
      import
      type(cpa), intent(in) :: cp
      type(c_ptr), intent(out) :: list
      integer(c_int), intent(out) :: n
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine c_memo_list_free(list) bind(C, name="cpa_memo_list_free")
      import
      type(c_ptr), intent(in), value :: list
    end subroutine
  end interface

contains

  ! Every name, sorted. ierr: their number.
  subroutine cpa_memo_list(cp, stats, ierr)
    type(cpa), intent(in) :: cp
    type(cpa_memo_stats), allocatable, intent(out) :: stats(:)
    integer(c_int), intent(out), optional :: ierr
    type(c_ptr) :: list
    type(c_stats), pointer :: found(:)
    integer(c_int) :: n, i

    call f_memo_list(cp, list, n, ierr)
    allocate (stats(n))
    call c_f_pointer(list, found, [n])
    do i = 1, n
      stats(i)%name = text_at(found(i)%name)
      stats(i)%hits = found(i)%hits
      stats(i)%misses = found(i)%misses
      stats(i)%results = found(i)%results
      stats(i)%bytes = found(i)%bytes
    end do
    call c_memo_list_free(list)
  end subroutine
end module
