! What the modules of `use cpagent` share: its types and constants, and texts as C has them. Programs see it through
! cpagent.f90, which leaves out what is only for these modules.
module cpagent_base
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer, parameter :: CPA_OK = 0, CPA_ERR_ARG = -1, CPA_ERR_KEY = -2, CPA_ERR_VAR = -3, CPA_ERR_FULL = -4, &
    CPA_ERR_CORRUPT = -5, CPA_ERR_BROKEN = -6, CPA_ERR_FORMAT = -7, CPA_ERR_LEVEL = -8, CPA_ERR_TIMEOUT = -9, &
    CPA_ERR_BUSY = -10, CPA_ERR_DENIED = -11, CPA_ERR_MEMORY = -12, CPA_ERR_SYSTEM = -13, CPA_ERR_REGION = -14
  integer, parameter :: CPA_TAKEN = 0, CPA_RESTORED = 1
  integer, parameter :: CPA_FRESH = 0, CPA_FROM_SNAPSHOT = 1, CPA_FROM_KEYS = 2
  integer, parameter :: CPA_MEMO_LIMIT = 1, CPA_MEMO_COMPARE = 2

  ! An open arena.
  type, bind(C) :: cpa
    type(c_ptr) :: handle = c_null_ptr
  end type

  ! A computation that cpa_memo_begin() did not know.
  type, bind(C) :: cpa_memo
    type(c_ptr) :: memo = c_null_ptr
  end type

  ! What cpa_var() makes of a variable. In descriptors.h it is struct variable.
  type, bind(C) :: cpa_variable
    private
    type(c_ptr) :: data
    integer(c_int64_t) :: count, element
    integer(c_int32_t) :: type, wrong, rank, constant
    integer(c_int64_t) :: room(30)
    character(kind=c_char) :: name(256)
  end type

  interface
    subroutine f_strerror(code, text) bind(C, name="cpa_f_strerror")
      import
      integer(c_int), intent(in), value :: code
      type(c_ptr), intent(out) :: text
    end subroutine

    pure function c_strlen(text) result(length) bind(C, name="strlen")
      import
      type(c_ptr), intent(in), value :: text
      integer(c_size_t) :: length
    end function
  end interface

contains

  ! A sentence for a code; for the one that the calling thread got last, it says what it was about.
  function cpa_strerror(code) result(sentence)
    integer(c_int), intent(in) :: code
    character(len=:), allocatable :: sentence
    type(c_ptr) :: text

    call f_strerror(code, text)
    sentence = text_at(text)
  end function

  ! A copy of C's text; of none, an empty one.
  function text_at(address) result(text)
    type(c_ptr), intent(in) :: address
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    integer :: i

    text = ""
    if (.not. c_associated(address)) return
    call c_f_pointer(address, letters, [c_strlen(address)])
    deallocate (text)
    allocate (character(len=size(letters)) :: text)
    do i = 1, size(letters)
      text(i:i) = letters(i)
    end do
  end function
end module
