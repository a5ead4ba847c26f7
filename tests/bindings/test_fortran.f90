! use cpagent, as programs use it: every type, kind and rank there and back, what is refused, and each family of calls.
! Run with a fresh directory; prints "N passed, N failed". Compiled at full optimisation, since cpa_var() keeps addresses.
program test_fortran
  use, intrinsic :: iso_c_binding
  use counts
  use cpagent
  implicit none

  type(cpa) :: cp
  character(len=4096) :: place

  call get_command_argument(1, place)
  call cpa_open(cp, trim(place), "fortran", 64_8*1024*1024)
  if (command_argument_count() > 1) call end_with_an_error()
  call kinds()
  call ranks()
  call sections()
  call components()
  call bytes_and_unsigned()
  call constants(7, [1d0, 2d0, 3d0])
  call locals_that_are_no_targets()
  call refusals()
  call keys()
  call regions(1000)
  call files()
  call memos()
  call program_and_agent()
  call cpa_close(cp)
  call tell_counts()

contains

  ! With a second argument: what becomes of an error that nobody takes.
  subroutine end_with_an_error()
    integer, target :: x

    call cpa_restore(cp, "nothing", 0, [cpa_var("x", x)])
    print "(a)", "still here"
    stop
  end subroutine

  subroutine kinds()
    integer(1), target :: i1 = 1_1
    integer(2), target :: i2 = 2_2
    integer(4), target :: i4 = 4
    integer(8), target :: i8 = huge(0_8)
    real(4), target :: r4 = 0.5
    real(8), target :: r8 = 1d0/3
    real(10), target :: r10 = 1._10/3
    real(16), target :: r16 = 1._16/3
    complex(4), target :: c4 = (1, 2)
    complex(8), target :: c8 = (3, 4)
    complex(10), target :: c10 = (5, 6)
    complex(16), target :: c16 = (7, 8)
    logical(1), target :: l1 = .true.
    logical(2), target :: l2 = .true.
    logical(4), target :: l4 = .true.
    logical(8), target :: l8 = .true.
    character(len=5), target :: s = "text"
    character(len=2), target :: words(3) = ["ab", "cd", "ef"]
    character(kind=4, len=3), target :: wide = 4_"xyz"
    type(cpa_variable) :: all(19)

    all = [cpa_var("i1", i1), cpa_var("i2", i2), cpa_var("i4", i4), cpa_var("i8", i8), cpa_var("r4", r4), &
           cpa_var("r8", r8), cpa_var("r10", r10), cpa_var("r16", r16), cpa_var("c4", c4), cpa_var("c8", c8), &
           cpa_var("c10", c10), cpa_var("c16", c16), cpa_var("l1", l1), cpa_var("l2", l2), cpa_var("l4", l4), &
           cpa_var("l8", l8), cpa_var("s", s), cpa_var("words", words), cpa_var("wide", wide)]
    call cpa_checkpoint(cp, "kinds", 1, all)
    i1 = 0; i2 = 0; i4 = 0; i8 = 0; r4 = 0; r8 = 0; r10 = 0; r16 = 0; c4 = 0; c8 = 0; c10 = 0; c16 = 0
    l1 = .false.; l2 = .false.; l4 = .false.; l8 = .false.; s = ""; words = ""; wide = 4_""
    call cpa_restore(cp, "kinds", 0, all)
    call test("integers come back", i1 == 1 .and. i2 == 2 .and. i4 == 4 .and. i8 == huge(0_8))
    call test("reals come back", r4 == 0.5 .and. r8 == 1d0/3 .and. r10 == 1._10/3 .and. r16 == 1._16/3)
    call test("complex numbers come back", c4 == (1, 2) .and. c8 == (3, 4) .and. c10 == (5, 6) .and. c16 == (7, 8))
    call test("logicals come back", l1 .and. l2 .and. l4 .and. logical(l8, 4))
    call test("characters come back", s == "text" .and. words(1) == "ab" .and. words(3) == "ef" .and. wide == 4_"xyz")
    call the_types_are(["i1   i8  ", "i8   i64 ", "r4   f32 ", "r8   f64 "])
  end subroutine

  ! What C and Python see of it.
  subroutine the_types_are(pairs)
    character(len=*), intent(in) :: pairs(:)
    integer(8) :: n
    integer :: i

    do i = 1, size(pairs)
      call cpa_query(cp, "kinds", pairs(i)(1:4), n)
      call test("one element of " // pairs(i), n == 1)
    end do
    call cpa_query(cp, "kinds", "words", n)
    call test("characters are counted one by one", n == 6)
  end subroutine

  subroutine ranks()
    real(8), allocatable, target :: a(:, :, :)
    integer, target :: b(2, 1, 2, 1, 2, 1, 2)
    integer, allocatable, target :: empty(:)
    integer :: i
    integer(8) :: n

    allocate (a(3, 4, 5), empty(0))
    a = reshape([(dble(i), i=1, 60)], [3, 4, 5])
    b = reshape([(i, i=1, 16)], shape(b))
    call cpa_checkpoint(cp, "ranks", 1, [cpa_var("a", a), cpa_var("b", b), cpa_var("empty", empty), &
                                         cpa_var("plane", a(:, :, 2)), cpa_var("column", a(:, 4, 5))])
    a = 0
    b = 0
    call cpa_query(cp, "ranks", "a", n)
    call test("a query tells how many there are", n == 60)
    call cpa_restore(cp, "ranks", 0, [cpa_var("a", a), cpa_var("b", b), cpa_var("empty", empty)])
    call test("arrays of any rank come back", all(a == reshape([(dble(i), i=1, 60)], [3, 4, 5])) .and. &
              sum(b) == 136 .and. b(2, 1, 2, 1, 2, 1, 2) == 16)
    a = 0
    call cpa_restore(cp, "ranks", 0, [cpa_var("plane", a(:, :, 2)), cpa_var("column", a(:, 4, 5))])
    call test("contiguous sections are restored where they are", a(1, 1, 2) == 13 .and. a(3, 4, 5) == 60 .and. &
              a(1, 1, 1) == 0 .and. a(1, 1, 5) == 0)
  end subroutine

  subroutine sections()
    integer, target :: a(6, 5, 4), was(6, 5, 4), v(0:9), none(3, 3)
    character(len=2), target :: words(6) = ["ab", "cd", "ef", "gh", "ij", "kl"]
    integer :: i, ierr

    a = reshape([(i, i=1, size(a))], shape(a))
    v = [(i, i=0, 9)]
    none = 7
    was = a
    call cpa_checkpoint(cp, "sections", 1, [cpa_var("odd", a(1:5:2, ::4, 2:3)), cpa_var("back", v(9:1:-3)), &
                                            cpa_var("line", a(3, 2, :)), cpa_var("words", words(2:6:2)), &
                                            cpa_var("nothing", none(3:1, ::2))])
    a = 0
    v = 0
    words = "??"
    call cpa_restore(cp, "sections", 0, [cpa_var("odd", a(1:5:2, ::4, 2:3)), cpa_var("back", v(9:1:-3)), &
                                         cpa_var("line", a(3, 2, :)), cpa_var("words", words(2:6:2)), &
                                         cpa_var("nothing", none(3:1, ::2))])
    call test("a section with gaps comes back", all(a(1:5:2, ::4, 2:3) == was(1:5:2, ::4, 2:3)))
    call test("one that spans a dimension too", all(a(3, 2, :) == was(3, 2, :)))
    call test("what is between its elements stays", sum(a) == sum(was(1:5:2, ::4, 2:3)) + sum(was(3, 2, :)))
    call test("a section may run backwards", all(v == [0, 0, 0, 3, 0, 0, 6, 0, 0, 9]))
    call test("characters have sections", all(words == ["??", "cd", "??", "gh", "??", "kl"]))
    call test("an empty section is one", all(none == 7))
    call cpa_restore(cp, "sections", 0, [cpa_var("back", v(1:7:3))])
    call test("elements are in the section's order", v(1) == 9 .and. v(4) == 6 .and. v(7) == 3)
    v = -1
    call cpa_restore(cp, "sections", 0, [cpa_var("back", v(1:8:2))], ierr)
    call test("a section of another size is refused and nothing is written", ierr == CPA_ERR_VAR .and. all(v == -1))
    call by_descriptor(a(2:6:2, 2:4:2, 1))
  end subroutine

  subroutine by_descriptor(x)
    integer, target :: x(:, :)
    integer :: ierr

    x = 5
    call cpa_checkpoint(cp, "passed", 1, [cpa_var("x", x)])
    x = 6
    call cpa_restore(cp, "passed", 0, [cpa_var("x", x)])
    call test("an argument that is a section comes back", all(x == 5))
    call cpa_protect(cp, "x", x, ierr)
    call test("but it is no region", ierr == CPA_ERR_ARG)
  end subroutine

  ! As programs have their state.
  subroutine components()
    type particle
      real(8) :: at(3) = 0
      integer :: id = 0
    end type
    type state
      integer :: step = 0
      real(8), allocatable :: u(:, :, :)
      type(particle) :: p(50)
      complex(8), pointer :: z(:)
    end type
    type(state), target :: s
    integer :: i

    allocate (s%u(4, 3, 2), s%z(8))
    s%step = 12
    s%u = reshape([(i*0.5d0, i=1, 24)], shape(s%u))
    s%p%id = [(i, i=1, 50)]
    do i = 1, 50
      s%p(i)%at = i
    end do
    s%z = (1, -1)
    call cpa_checkpoint(cp, "state", 1, [cpa_var("step", s%step), cpa_var("u", s%u), cpa_var("id", s%p%id), &
                                         cpa_var("y", s%p%at(2)), cpa_var("z", s%z), cpa_var("re", s%z%re)])
    s%step = 0
    s%u = 0
    s%p%id = 0
    s%p%at(2) = 0
    s%z = 0
    call cpa_restore(cp, "state", 0, [cpa_var("u", s%u), cpa_var("step", s%step), cpa_var("id", s%p%id), &
                                      cpa_var("y", s%p%at(2)), cpa_var("re", s%z%re)])
    call test("an allocatable component comes back", s%step == 12 .and. s%u(4, 3, 2) == 12 .and. s%u(1, 1, 1) == 0.5)
    call test("so does a component of every element", all(s%p%id == [(i, i=1, 50)]) .and. s%p(9)%at(2) == 9 .and. &
              s%p(9)%at(1) == 9)
    call test("so does the real part", all(s%z == (1, 0)))
    deallocate (s%z)
  end subroutine

  subroutine bytes_and_unsigned()
    type point
      real(8) :: x, y
      integer :: n
    end type
    type(point), target :: p(3) = point(1, 2, 3)
    integer(16), target :: wide = 12345678901234567890123456789_16
    integer(1), target :: flags(4) = -1
    integer(8), target :: many = -2
    real, target :: r = 0
    type(cpa_entry) :: e
    integer :: ierr

    call cpa_checkpoint(cp, "raw", 1, [cpa_bytes("p", p), cpa_bytes("wide", wide), cpa_bytes("every second", p(::2)), &
                                       cpa_unsigned("flags", flags), cpa_unsigned("many", many)])
    call cpa_query(cp, "raw", e)
    call test("bytes and unsigned integers have their types", e%vars(1)%type == "bytes" .and. e%vars(4)%type == "u8" .and. &
              e%vars(5)%type == "u64" .and. e%vars(2)%count == 16 .and. e%vars(3)%count*3 == e%vars(1)%count*2)
    p = point(0, 0, 0)
    wide = 0
    flags = 0
    call cpa_restore(cp, "raw", 0, [cpa_bytes("wide", wide), cpa_bytes("every second", p(::2)), &
                                    cpa_unsigned("flags", flags)])
    call test("a derived type comes back as bytes", p(3)%y == 2 .and. p(3)%n == 3 .and. p(2)%n == 0 .and. &
              wide == 12345678901234567890123456789_16 .and. all(flags == -1))
    call cpa_restore(cp, "raw", 0, [cpa_var("many", many)], ierr)
    call test("unsigned integers are no others", ierr == CPA_ERR_VAR)
    call cpa_checkpoint(cp, "bad", 1, [cpa_unsigned("r", r)], ierr)
    call refused("what is no integer is not unsigned", ierr, "variable r: cpa_unsigned() takes integers")
  end subroutine

  subroutine constants(n, v)
    integer, intent(in) :: n
    real(8), intent(in) :: v(:)
    integer, target :: i
    real(8), target :: x, w(2)
    character(len=12), target :: s
    integer :: ierr

    call cpa_checkpoint(cp, "constants", 1, [cpa_const("n", n), cpa_const("i", n + 5), cpa_const("x", sum(v)), &
                                             cpa_const("v", v(1:3:2)), cpa_const("s", "step " // repeat("x", n)), &
                                             cpa_const("z", (1d0, 2d0))])
    call cpa_restore(cp, "constants", 0, [cpa_var("i", i), cpa_var("x", x), cpa_var("v", w), cpa_var("s", s)])
    call test("constants and scalar expressions are kept", i == 12 .and. x == 6 .and. all(w == [1, 3]) .and. &
              s == "step xxxxxxx")
    call cpa_restore(cp, "constants", 0, [cpa_const("n", n)], ierr)
    call refused("a constant is not restored", ierr, "variable n: it is constant")
    call cpa_checkpoint(cp, "bad", 1, [cpa_const("s", repeat("x", 241))], ierr)
    call refused("a long one is refused", ierr, "variable s: a constant scalar has at most 240")
  end subroutine

  ! The standard asks for TARGET. What is forgotten works with gfortran all the same: cpa_var()'s argument is one.
  subroutine locals_that_are_no_targets()
    integer :: step, i
    real(8) :: total

    step = 41
    total = 0
    do i = 1, 3
      step = step + 1
      total = total + step
      call cpa_checkpoint(cp, "locals", 1, [cpa_var("step", step), cpa_var("total", total)])
    end do
    step = 0
    total = 0
    call cpa_restore(cp, "locals", 0, [cpa_var("step", step), cpa_var("total", total)])
    call test("a local variable is seen changed by a restore", step == 44 .and. total == 129)
  end subroutine

  subroutine refusals()
    type point
      real :: x, y
    end type
    type(point), target :: p = point(1, 2)
    real(8), target :: u(10, 10) = 1
    real(8), allocatable, target :: nothing(:)
    integer(16), target :: i16 = 1
    integer, target :: i = 1
    integer :: ierr

    allocate (nothing(3))
    deallocate (nothing)
    call cpa_checkpoint(cp, "bad", 1, [cpa_var("p", p)], ierr)
    call refused("a derived type is refused by name", ierr, "variable p:")
    call cpa_checkpoint(cp, "bad", 1, [cpa_var("nothing", nothing)], ierr)
    call refused("what is not allocated is refused by name", ierr, "variable nothing: it is not allocated")
    call cpa_checkpoint(cp, "bad", 1, [cpa_var("i16", i16)], ierr)
    call refused("an integer of 16 bytes is refused by name", ierr, "variable i16:")
    call cpa_checkpoint(cp, "bad", 1, [cpa_var(repeat("n", 256), i)], ierr)
    call refused("a name that is too long is refused", ierr, "longer than 255 bytes")
    call assumed_size(u)
    call cpa_query(cp, "bad", ierr=ierr)
    call test("nothing was checkpointed", ierr == CPA_ERR_KEY)
    call cpa_checkpoint(cp, repeat("k", 256), 1, [cpa_var("i", i)], ierr)
    call test("a key that is too long is refused", ierr == CPA_ERR_ARG)
    call cpa_checkpoint(cp, "", 1, [cpa_var("i", i)], ierr)
    call test("an empty key is refused", ierr == CPA_ERR_ARG)
  end subroutine

  subroutine assumed_size(u)
    real(8), target :: u(*)
    integer :: ierr

    call cpa_checkpoint(cp, "bad", 1, [cpa_var("u", u)], ierr)
    call refused("an array of assumed size is refused by name", ierr, "variable u: the extent")
  end subroutine

  subroutine refused(sentence, ierr, words)
    character(len=*), intent(in) :: sentence, words
    integer, intent(in) :: ierr

    call test(sentence, ierr == CPA_ERR_ARG .and. index(cpa_strerror(ierr), words) > 0)
  end subroutine

  subroutine keys()
    integer, target :: x
    real(8), target :: wrong
    integer :: ierr, level
    integer(8) :: version
    character(len=40) :: padded = "padded"

    call cpa_restore(cp, "nothing", 0, [cpa_var("x", x)], ierr)
    call test("a missing key is an error that can be asked for", ierr == CPA_ERR_KEY)
    call test("its sentence names the key", index(cpa_strerror(ierr), "nothing") > 0)
    call cpa_keep(cp, "k", 2)
    do x = 1, 3
      call cpa_checkpoint(cp, "k", 1, [cpa_const("x", x)])
    end do
    call cpa_query(cp, "k", version=version, level=level)
    call test("a query tells version and level", version == 3 .and. level == 1)
    call cpa_restore_version(cp, "k", 2_8, [cpa_var("x", x)])
    call test("a version that was kept comes back", x == 2)
    call cpa_restore(cp, "k", 0, [cpa_var("x", wrong)], ierr)
    call test("another type is refused by name", ierr == CPA_ERR_VAR .and. index(cpa_strerror(ierr), "variable x") > 0)
    call cpa_query(cp, "k", "y", version, ierr=ierr)
    call test("a query says which variable is not there", ierr == CPA_ERR_VAR .and. &
              index(cpa_strerror(ierr), "variable y") > 0)
    call cpa_checkpoint(cp, padded, 1, [cpa_var(padded, x)])
    call cpa_query(cp, "padded", "padded", version)
    call test("blanks at the end do not count", version == 1)
    call cpa_wait(cp, "k", 1, 0d0)
    call cpa_wait(cp, "k", 2, 0d0, ierr)
    call test("without an agent nobody carries it", ierr == CPA_ERR_LEVEL)
    call cpa_reset(cp, "k")
    call cpa_query(cp, "k", ierr=ierr)
    call test("a key can be forgotten", ierr == CPA_ERR_KEY)
  end subroutine

  subroutine regions(n)
    integer, intent(in) :: n
    real(8), allocatable, target :: u(:, :)
    integer, target :: step
    integer :: ierr

    allocate (u(n, n))
    u = 1
    step = 0
    call cpa_protect(cp, "u", u)
    call cpa_protect(cp, "step", step)
    do step = 1, 3
      u(step, n) = step
      call cpa_checkpoint_protected(cp, "regions", 1)
    end do
    u = 0
    step = 0
    call cpa_restore_protected(cp, "regions", 0)
    call test("protected regions come back", step == 3 .and. u(3, n) == 3 .and. u(1, 1) == 1)
    ierr = cpa_tracking(cp)
    call test("tracking says what the machine can do", ierr == 0 .or. ierr == 1)
    call cpa_protect(cp, "rows", u(1:n:2, :), ierr)
    call test("a region with gaps is refused by name", ierr == CPA_ERR_ARG .and. &
              index(cpa_strerror(ierr), "region rows: it is not contiguous") > 0)
    call cpa_unprotect(cp, "u")
    call cpa_unprotect(cp, "u", ierr)
    call test("a region is let go once", ierr == CPA_ERR_REGION)
    call cpa_unprotect(cp)
  end subroutine

  subroutine files()
    character(len=:), allocatable :: path
    character(len=20) :: line
    integer :: unit, ierr

    call cpa_route_file(cp, "file", path)
    open (newunit=unit, file=path, status="new")
    write (unit, "(a)") "hello"
    close (unit)
    call cpa_file_done(cp, "file", 1)
    call cpa_restore_file(cp, "file", 0, path)
    open (newunit=unit, file=path, status="old")
    read (unit, "(a)") line
    close (unit, status="delete")
    call test("a file comes back", line == "hello")
    call cpa_restore_file(cp, "none", 0, path, ierr)
    call test("a file that was never finished does not", ierr == CPA_ERR_KEY)
  end subroutine

  subroutine memos()
    real(8), target :: signal(100), power
    type(cpa_memo) :: m
    integer :: i, computed

    computed = 0
    do i = 1, 4
      signal = mod(i, 2)
      if (cpa_memo_begin(cp, m, "power 1", [cpa_var("signal", signal)], [cpa_var("power", power)]) <= 0) then
        power = sum(signal**2)
        computed = computed + 1
        call cpa_memo_end(m)
      end if
      call test("a memo's result is right", power == 100*mod(i, 2))
    end do
    call test("a computation is done once for each input", computed == 2)
    call cpa_memo_enable(cp, 0, "power 1")
    call test("a memo that is off knows nothing", &
              cpa_memo_begin(cp, m, "power 1", [cpa_var("signal", signal)], [cpa_var("power", power)]) == 0)
    call cpa_memo_drop(m)
  end subroutine

  subroutine program_and_agent()
    integer :: how, ierr

    call test("the first checkpoint is due at once", cpa_should_checkpoint(cp))
    call cpa_set_due(cp, 3600d0, 0d0)
    call test("this is the first life", cpa_incarnation(cp, how) == 0 .and. how == CPA_FRESH)
    call test("without an agent there are no snapshots", cpa_snapshot(cp, 1d0) == CPA_ERR_LEVEL)
    call cpa_set_interval(cp, 5d0, 60d0)
    call cpa_stop(cp)
    call cpa_start(cp)
    call cpa_register(cp, "tcp://127.0.0.1:1", 1d0, ierr)
    call test("without an agent there is none to register", ierr == CPA_ERR_LEVEL)
  end subroutine
end program
