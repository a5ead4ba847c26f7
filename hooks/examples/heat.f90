! heat: the 2-D heat equation on a square plate, with checkpoints: heat.c in Fortran, with the same result to the last
! bit. Start it, kill it, start it again: it goes on where it was.
!
!   heat_fortran SIZE STEPS EVERY FILE [ARENA]      heat_fortran 512 2000 20 plate.bin
!
! The variables are heat.c's too: with the same arena, one program can go on with the other's checkpoint.
program heat
  use, intrinsic :: iso_fortran_env, only: int64, real64, error_unit
  use cpagent
  implicit none

  type(cpa) :: cp
  integer(int64), target :: step = 0, size, work = 1
  integer(int64) :: steps, every, was
  real(real64), allocatable, target :: u(:, :)
  real(real64), allocatable :: from(:, :)
  character(len=4096) :: out
  integer :: ierr

  call read_arguments()
  allocate (u(size, size), from(size, size))
  call begin()
  was = size
  call cpa_restore(cp, "plate", 0, [cpa_var("step", step), cpa_var("size", size), cpa_var("work", work), &
                                    cpa_var("u", u)], ierr)
  if (ierr < 0 .and. ierr /= CPA_ERR_KEY) call stop_with(cpa_strerror(ierr))
  if (size /= was .or. work /= 1) call stop_with("the checkpoint is of another plate")
  print "(2a, i0)", trim(merge("restored", "started ", ierr >= 0)), " at step ", step
  do while (step < steps)
    call sweep()
    step = step + 1
    if (mod(step, every) /= 0) cycle
    call cpa_checkpoint(cp, "plate", 1, [cpa_var("step", step), cpa_var("size", size), cpa_var("work", work), &
                                         cpa_var("u", u)])
    print "(a, i0)", "step ", step
    flush (6)
  end do
  call write_result()
  call cpa_reset(cp, "plate")  ! done: the next run is a new one
  call cpa_close(cp)

contains

  subroutine read_arguments()
    character(len=4096) :: word
    integer :: n, bad

    n = command_argument_count()
    if (n < 4 .or. n > 5) call stop_with("usage: heat_fortran SIZE STEPS EVERY FILE [ARENA]")
    call get_command_argument(1, word)
    read (word, *, iostat=bad) size
    call get_command_argument(2, word)
    if (bad == 0) read (word, *, iostat=bad) steps
    call get_command_argument(3, word)
    if (bad == 0) read (word, *, iostat=bad) every
    if (bad /= 0 .or. size < 3 .or. steps < 0 .or. every < 1) call stop_with("SIZE, STEPS and EVERY are numbers")
    call get_command_argument(4, out)
    if (n == 5) then
      call get_command_argument(5, word)
      call cpa_open(cp, trim(word))
    else
      call cpa_open(cp)
    end if
  end subroutine

  ! A hot edge, a cold plate, and a warm spot off its middle.
  subroutine begin()
    u = 0
    u(:, 1) = 100
    u(size/2 + 1, size/3 + 1) = 1000
  end subroutine

  subroutine sweep()
    integer(int64) :: i, j

    from = u
    do i = 2, size - 1
      do j = 2, size - 1
        u(j, i) = from(j, i) + 0.2_real64*(((from(j - 1, i) + from(j + 1, i)) + from(j, i - 1)) + from(j, i + 1) &
                                           - 4*from(j, i))
      end do
    end do
  end subroutine

  subroutine write_result()
    character(len=64) :: head
    integer :: unit

    write (head, "(a, i0, a, i0, a)") "heat ", size, " ", steps, new_line("a")
    open (newunit=unit, file=trim(out)//".part", access="stream", form="unformatted", status="replace")
    write (unit) trim(head), u
    close (unit)
    call execute_rename(trim(out)//".part", trim(out))
  end subroutine

  subroutine execute_rename(aside, name)
    use, intrinsic :: iso_c_binding
    character(len=*), intent(in) :: aside, name
    interface
      integer(c_int) function c_rename(a, b) bind(C, name="rename")
        import
        character(kind=c_char), intent(in) :: a(*), b(*)
      end function
    end interface

    if (c_rename(aside//c_null_char, name//c_null_char) /= 0) call stop_with(name//": it cannot be written")
  end subroutine

  subroutine stop_with(why)
    character(len=*), intent(in) :: why

    write (error_unit, "(2a)") "heat: ", why
    stop 1
  end subroutine
end program
