! Variables and keys of `use cpagent`: open, checkpoint, restore, list, forget. Their C side is calls.c.
module cpagent_keys
  use, intrinsic :: iso_c_binding
  use cpagent_base
  implicit none
  private

  public :: cpa_var, cpa_const, cpa_bytes, cpa_unsigned, cpa_open, cpa_close, cpa_checkpoint, cpa_restore
  public :: cpa_restore_version, cpa_reset, cpa_keep, cpa_wait, cpa_query, cpa_list, cpa_key

  ! A variable of a checkpoint: its name, its type as C's names have it ("f64"), how many elements.
  type, public :: cpa_entry_variable
    character(len=:), allocatable :: name, type
    integer(c_int64_t) :: count = 0
  end type

  ! A key's newest version. level: the highest that holds it. bytes: of data. time_ns: since 1970. how: empty, or
  ! how the regions that it holds were found ("whole copy", "dirty pages").
  type, public :: cpa_entry
    character(len=:), allocatable :: key, how
    integer(c_int64_t) :: version = 0, bytes = 0, time_ns = 0
    integer(c_int) :: level = 0
    type(cpa_entry_variable), allocatable :: vars(:)
  end type

  ! struct cpa_entry and struct cpa_var of cpagent.h
  type, bind(C) :: c_entry
    type(c_ptr) :: key
    integer(c_int64_t) :: version
    integer(c_int) :: level
    integer(c_int64_t) :: bytes, time_ns
    integer(c_size_t) :: n
    type(c_ptr) :: vars, how
  end type
  type, bind(C) :: c_variable
    type(c_ptr) :: name, data
    integer(c_int64_t) :: count
    integer(c_int32_t) :: type
  end type

  interface
    ! A variable under a name, for cpa_checkpoint() and its like: of any intrinsic type, kind and rank, also a section.
    ! intent(inout), so that no expression is one: gfortran gives back the memory of an array's before the checkpoint.
    function cpa_var(name, x) result(v) bind(C, name="cpa_f_var")
      import
      character(len=*), intent(in) :: name
      type(*), dimension(..), intent(inout), target :: x
      type(cpa_variable) :: v
    end function

    ! What may not be changed: an intent(in) argument; a scalar expression or constant, up to 240 bytes. No array
    ! expression. It cannot be restored.
    function cpa_const(name, x) result(v) bind(C, name="cpa_f_const")
      import
      character(len=*), intent(in) :: name
      type(*), dimension(..), intent(in), target :: x
      type(cpa_variable) :: v
    end function

    ! A variable as raw bytes, for what has no type in a checkpoint: a derived type without pointers or allocatable
    ! components, integer(16).
    function cpa_bytes(name, x) result(v) bind(C, name="cpa_f_bytes")
      import
      character(len=*), intent(in) :: name
      type(*), dimension(..), intent(inout), target :: x
      type(cpa_variable) :: v
    end function

    ! Integers that programs in other languages have as unsigned ones.
    function cpa_unsigned(name, x) result(v) bind(C, name="cpa_f_unsigned")
      import
      character(len=*), intent(in) :: name
      type(*), dimension(..), intent(inout), target :: x
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
  end interface

  ! What key holds: how many elements of a variable (to allocate it), which version, highest level that holds it;
  ! or all of it, as a cpa_entry.
  interface cpa_query
    subroutine f_query(cp, key, variable, count, version, level, ierr) bind(C, name="cpa_f_query")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      character(len=*), intent(in), optional :: variable
      integer(c_int64_t), intent(out), optional :: count, version
      integer(c_int), intent(out), optional :: level, ierr
    end subroutine
    module procedure query_entry
  end interface

  interface
    subroutine f_list(cp, key, list, n, ierr) bind(C, name="cpa_f_list")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: key
      type(c_ptr), intent(out) :: list
      integer(c_int), intent(out) :: n
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine c_list_free(list) bind(C, name="cpa_list_free")
      import
      type(c_ptr), intent(in), value :: list
    end subroutine

    function c_type_name(type) result(name) bind(C, name="cpa_type_name")
      import
      integer(c_int), intent(in), value :: type
      type(c_ptr) :: name
    end function

    subroutine f_key(file, procedure, words, key) bind(C, name="cpa_f_key")
      import
      character(len=*), intent(in) :: file, procedure, words
      character(kind=c_char), intent(out) :: key(256)
    end subroutine
  end interface

contains

  ! Every key of this node, sorted, without memos. ierr: their number.
  subroutine cpa_list(cp, entries, ierr)
    type(cpa), intent(in) :: cp
    type(cpa_entry), allocatable, intent(out) :: entries(:)
    integer(c_int), intent(out), optional :: ierr
    type(c_ptr) :: list
    type(c_entry), pointer :: found(:)
    integer(c_int) :: n, i

    call f_list(cp, list=list, n=n, ierr=ierr)
    allocate (entries(n))
    call c_f_pointer(list, found, [n])
    do i = 1, n
      call copy_entry(found(i), entries(i))
    end do
    call c_list_free(list)
  end subroutine

  subroutine query_entry(cp, key, entry, ierr)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in) :: key
    type(cpa_entry), intent(out) :: entry
    integer(c_int), intent(out), optional :: ierr
    type(c_ptr) :: list
    type(c_entry), pointer :: found
    integer(c_int) :: n

    call f_list(cp, key, list, n, ierr)
    if (n > 0) then
      call c_f_pointer(list, found)
      call copy_entry(found, entry)
    end if
    call c_list_free(list)
  end subroutine

  subroutine copy_entry(from, to)
    type(c_entry), intent(in) :: from
    type(cpa_entry), intent(out) :: to
    type(c_variable), pointer :: vars(:)
    integer :: i

    to%key = text_at(from%key)
    to%how = text_at(from%how)
    to%version = from%version
    to%level = from%level
    to%bytes = from%bytes
    to%time_ns = from%time_ns
    allocate (to%vars(from%n))
    call c_f_pointer(from%vars, vars, [from%n])
    do i = 1, size(to%vars)
      to%vars(i)%name = text_at(vars(i)%name)
      to%vars(i)%type = text_at(c_type_name(vars(i)%type))
      to%vars(i)%count = vars(i)%count
    end do
  end subroutine

  ! A key made of where a call stands and of what it is about: "file_procedure_words", blanks left out.
  function cpa_key(file, procedure, words) result(key)
    character(len=*), intent(in) :: file, procedure, words
    character(len=:), allocatable :: key
    character(kind=c_char), target :: letters(256)

    call f_key(file, procedure, words, letters)
    key = text_at(c_loc(letters))
  end function
end module
