! use cpagent: what is listed, regions by name, memos in full, intervals. Run with a fresh directory; prints
! "N passed, N failed".
program test_fortran_calls
  use counts
  use cpagent
  implicit none

  type(cpa) :: cp
  character(len=4096) :: place

  call get_command_argument(1, place)
  call cpa_open(cp, trim(place), "fortran", 64_8*1024*1024)
  call lists()
  call a_key_from_a_place()
  call regions_by_name()
  call regions_in_a_list()
  call memos()
  call intervals()
  call groups()
  call archives()
  call cpa_close(cp)
  call no_handle()
  call tell_counts()

contains

  subroutine lists()
    type(cpa_entry), allocatable :: all(:)
    type(cpa_entry) :: one
    real(8), target :: u(3, 4) = 1
    integer, target :: step = 5
    character(len=6), target :: title = "plate"
    integer :: n

    call cpa_list(cp, all, n)
    call test("an empty arena lists nothing", n == 0 .and. size(all) == 0)
    call cpa_checkpoint(cp, "b", 1, [cpa_var("step", step)])
    call cpa_checkpoint(cp, "a", 1, [cpa_var("step", step)])
    call cpa_checkpoint(cp, "a", 1, [cpa_var("step", step), cpa_var("u", u), cpa_var("title", title)])
    call cpa_list(cp, all, n)
    call test("a list has every key, sorted", n == 2 .and. all(1)%key == "a" .and. all(2)%key == "b")
    call test("with their versions", all(1)%version == 2 .and. all(2)%version == 1 .and. all(1)%level == 1)
    call test("and their variables", size(all(1)%vars) == 3 .and. all(1)%vars(2)%name == "u" .and. &
              all(1)%vars(2)%type == "f64" .and. all(1)%vars(2)%count == 12 .and. all(1)%vars(3)%type == "char")
    call test("bytes and times", all(1)%bytes >= 4 + 96 + 6 .and. all(1)%time_ns > 1500000000000000000_8 .and. &
              all(1)%how == "")
    call cpa_query(cp, "a", one)
    call test("a query has the same of one key", one%key == "a" .and. one%version == 2 .and. size(one%vars) == 3 .and. &
              one%time_ns == all(1)%time_ns)
    call cpa_list(cp, all)
    call test("a list that is taken again has as many", size(all) == 2)
    call cpa_query(cp, "nothing", one, n)
    call test("a key that is missing has no entry", n == CPA_ERR_KEY .and. .not. allocated(one%key) .and. &
              index(cpa_strerror(n), "nothing") > 0)
    call cpa_reset(cp)
  end subroutine

  subroutine a_key_from_a_place()
    call test("a key can be made from a place", cpa_key("src/heat.f90", "solve", "n, 12") == "heat_solve_n_12")
    call test("a long one is cut", len(cpa_key("f", "g", repeat("x", 400))) == 255)
  end subroutine

  subroutine regions_by_name()
    real(8), allocatable, target :: u(:, :), v(:)
    type(cpa_entry) :: e
    character(len=:), allocatable :: why
    integer :: ierr, tracked

    allocate (u(200, 200), v(1000))
    u = 1
    v = 1
    call cpa_protect(cp, "u", u)
    call cpa_protect(cp, "v", v)
    call cpa_checkpoint_regions(cp, "one", 1, ["v"])
    call cpa_query(cp, "one", e)
    call test("a region can be checkpointed by name", size(e%vars) == 1 .and. e%vars(1)%name == "v" .and. e%how /= "")
    call cpa_checkpoint_regions(cp, "both", 1, [character(len=8) :: "v", "u"])
    u = 2
    v = 2
    call cpa_restore_regions(cp, "both", 0, ["u"])
    call test("and restored by name", all(u == 1) .and. all(v == 2))
    call cpa_restore_regions(cp, "both", 0, ["w"], ierr)
    call test("one that is not there is named", ierr == CPA_ERR_REGION .and. index(cpa_strerror(ierr), "w") > 0)
    tracked = cpa_tracking(cp, "v", why)
    call test("how a region is tracked has a reason", tracked == 0 .and. len(why) > 0)
    tracked = cpa_tracking(cp, "w", why)
    call test("but not that of none", tracked == CPA_ERR_REGION)
    tracked = cpa_tracking(cp, why=why)
    call test("the machine has one too", tracked >= 0 .and. len(why) > 0)
    call cpa_unprotect(cp)
  end subroutine

  subroutine regions_in_a_list()
    type point
      integer :: x, y
    end type
    type(point), target :: p(10)
    integer(1), target :: mask(8)
    type(cpa_entry) :: e
    integer :: ierr

    p = point(1, 2)
    mask = -1
    call cpa_protect(cp, [cpa_bytes("p", p), cpa_unsigned("mask", mask)])
    call cpa_checkpoint_protected(cp, "listed", 1)
    call cpa_query(cp, "listed", e)
    call test("regions can be protected in a list", size(e%vars) == 2 .and. e%vars(1)%name == "p" .and. &
              e%vars(1)%type == "bytes" .and. e%vars(2)%type == "u8")
    p = point(0, 0)
    call cpa_restore_protected(cp, "listed", 0)
    call test("and are restored", all(p%y == 2))
    call cpa_protect(cp, [cpa_var("y", p%y)], ierr)
    call test("but not with gaps", ierr == CPA_ERR_ARG .and. index(cpa_strerror(ierr), "variable y") > 0)
    call cpa_unprotect(cp)
  end subroutine

  subroutine memos()
    type(cpa_memo_stats), allocatable :: all(:)
    type(cpa_memo) :: m
    real(8), target :: x(10), sum_of
    integer, target :: gaps(6)
    integer :: i, n, known

    do i = 1, 4
      x = mod(i, 2)
      if (cpa_memo_begin(cp, m, "sum 1", [cpa_var("x", x(::3))], [cpa_var("sum", sum_of)]) <= 0) then
        sum_of = sum(x(::3))
        call cpa_memo_end(m)
      end if
      call test("an input may have gaps", sum_of == 4*mod(i, 2))
    end do
    call cpa_memo_list(cp, all, n)
    call test("memos are listed", n == 1 .and. size(all) == 1 .and. all(1)%name == "sum 1")
    call test("with what they did", all(1)%hits == 2 .and. all(1)%misses == 2 .and. all(1)%results == 2 .and. &
              all(1)%bytes >= 16)
    known = cpa_memo_begin(cp, m, "constant 1", [cpa_const("n", 3)], [cpa_var("sum", sum_of)])
    call test("an input may be a constant", known == 0)
    call cpa_memo_drop(m)
    gaps = 0
    known = cpa_memo_begin(cp, m, "gaps 1", [cpa_var("x", x)], [cpa_var("out", gaps(::2))])
    call test("an output may have none", known == CPA_ERR_ARG .and. index(cpa_strerror(known), "variable out") > 0)
    call cpa_memo_set(cp, CPA_MEMO_COMPARE, 1_8)
    call cpa_memo_set(cp, CPA_MEMO_LIMIT, 1000000_8)
    call cpa_memo_set(cp, 77, 1_8, n)
    call test("an option that there is not is refused", n == CPA_ERR_ARG)
    call cpa_memo_reset(cp, "sum 1")
    call cpa_memo_list(cp, all)
    call test("a memo can be forgotten", sum(all%results) == 0)
    call cpa_memo_reset(cp)
  end subroutine

  subroutine intervals()
    real(8) :: update, save
    logical :: due

    due = cpa_should_checkpoint(cp)
    call cpa_set_due(cp, 3600d0, 0d0)
    call test("the interval can be asked for", cpa_get_due(cp) == 3600)
    call cpa_set_interval(cp, 5d0, 60d0)
    call cpa_get_interval(cp, update, save)
    call test("so can those of updates and saves", update == 5 .and. save == 60)
  end subroutine

  ! Alone, the program is a group of one.
  subroutine groups()
    integer, target :: x = 1
    integer(8) :: version

    call cpa_reset(cp)
    version = cpa_version(cp)
    call test("nothing has no version", version == CPA_ERR_KEY)
    call cpa_checkpoint(cp, "g", 1, [cpa_var("x", x)])
    call cpa_checkpoint(cp, "g", 1, [cpa_var("x", x)])
    call test("a group of one has its newest version", cpa_version(cp, key="g") == 2 .and. cpa_version(cp) == 2)
    version = cpa_version(cp, "others", "g", 1d0)
    call test("without an agent there are no others", version == CPA_ERR_LEVEL .and. &
              index(cpa_strerror(int(version)), "others") > 0)
  end subroutine

  subroutine archives()
    type(cpa) :: other
    integer, target :: x = 4
    integer :: saved, loaded

    call cpa_reset(cp)
    call cpa_checkpoint(cp, "k", 1, [cpa_var("x", x)])
    call cpa_save(cp, trim(place)//"/all.tar.zst", saved)
    call cpa_open(other, trim(place), "other")
    call cpa_load(other, trim(place)//"/all.tar.zst", loaded)
    x = 0
    call cpa_restore(other, "k", 0, [cpa_var("x", x)])
    call test("an archive carries keys to another arena", saved == 1 .and. loaded == 1 .and. x == 4)
    call cpa_load(other, trim(place)//"/none", loaded)
    call test("one that is not there does not", loaded < 0 .and. index(cpa_strerror(loaded), "none") > 0)
    call cpa_close(other)
  end subroutine

  ! Closed, it is none.
  subroutine no_handle()
    type(cpa_entry), allocatable :: all(:)
    type(cpa_memo_stats), allocatable :: stats(:)
    real(8) :: update, save
    integer :: ierr

    call cpa_list(cp, all, ierr)
    call test("a closed handle lists nothing", ierr == CPA_ERR_ARG .and. size(all) == 0)
    call cpa_memo_list(cp, stats, ierr)
    call test("and no memos", ierr == CPA_ERR_ARG .and. size(stats) == 0)
    call cpa_get_interval(cp, update, save, ierr)
    call test("and has no intervals", ierr == CPA_ERR_ARG)
    call cpa_close(cp)
  end subroutine
end program
