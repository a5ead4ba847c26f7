! Protected regions and files of `use cpagent`. Their C side is calls_regions.c.
module cpagent_regions
  use, intrinsic :: iso_c_binding
  use cpagent_base
  implicit none
  private

  public :: cpa_protect, cpa_unprotect, cpa_checkpoint_protected, cpa_restore_protected, cpa_checkpoint_regions
  public :: cpa_restore_regions, cpa_tracking, cpa_route_file, cpa_file_done, cpa_restore_file

  integer, parameter :: PATH_MAX = 4096

  ! Protect x under a name, or variables under theirs. They stay where they are until cpa_unprotect().
  interface cpa_protect
    subroutine f_protect(cp, name, x, ierr) bind(C, name="cpa_f_protect")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: name
      type(*), dimension(..), intent(inout), target :: x
      integer(c_int), intent(out), optional :: ierr
    end subroutine
    subroutine f_protect_all(cp, vars, ierr) bind(C, name="cpa_f_protect_all")
      import
      type(cpa), intent(in) :: cp
      type(cpa_variable), intent(in) :: vars(:)
      integer(c_int), intent(out), optional :: ierr
    end subroutine
  end interface

  interface
    ! Let a region go; without a name, all.
    subroutine cpa_unprotect(cp, name, ierr) bind(C, name="cpa_f_unprotect")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: name
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Commit all regions, or those named, as the next version of key.
    subroutine cpa_checkpoint_protected(cp, key, level, ierr) bind(C, name="cpa_f_checkpoint_protected")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_checkpoint_regions(cp, key, level, names, ierr) bind(C, name="cpa_f_checkpoint_regions")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key, names(:)
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Copy the newest version of key into all regions, or those named.
    subroutine cpa_restore_protected(cp, key, level, ierr) bind(C, name="cpa_f_restore_protected")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine cpa_restore_regions(cp, key, level, names, ierr) bind(C, name="cpa_f_restore_regions")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key, names(:)
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! The file that cpa_route_file() named is written and closed: commit it.
    subroutine cpa_file_done(cp, key, level, ierr) bind(C, name="cpa_f_file_done")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: level
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    subroutine f_tracking(cp, name, why, tracked) bind(C, name="cpa_f_tracking")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: name
      type(c_ptr), intent(out) :: why
      integer(c_int), intent(out) :: tracked
    end subroutine

    subroutine f_path(cp, key, restored_from, path, ierr) bind(C, name="cpa_f_path")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in) :: key
      integer(c_int), intent(in), value :: restored_from
      character(kind=c_char), intent(out) :: path(*)
      integer(c_int), intent(out), optional :: ierr
    end subroutine
  end interface

contains

  ! 1: a region's changes are tracked by dirty pages; 0: it is copied whole; why is a sentence. No name: what this
  ! machine can do.
  function cpa_tracking(cp, name, why) result(tracked)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in), optional :: name
    character(len=:), allocatable, intent(out), optional :: why
    integer(c_int) :: tracked
    type(c_ptr) :: sentence

    if (present(name)) then
      call tracking_of(cp, name, sentence, tracked)
    else
      call f_tracking(cp, why=sentence, tracked=tracked)
    end if
    if (present(why)) why = text_at(sentence)
  end function

  ! gfortran 12 crashes where a text that may be absent is handed on to C.
  subroutine tracking_of(cp, name, why, tracked)
    type(cpa), intent(in) :: cp
    character(len=*), intent(in) :: name
    type(c_ptr), intent(out) :: why
    integer(c_int), intent(out) :: tracked

    call f_tracking(cp, name, why, tracked)
  end subroutine

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
    character(kind=c_char), target :: letters(PATH_MAX + 1)

    call f_path(cp, key, level, letters, ierr)
    path = text_at(c_loc(letters))
  end subroutine
end module
