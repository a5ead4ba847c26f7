! A program and its agent in `use cpagent`: when to checkpoint, snapshots, intervals, groups, archives. Their C side is
! calls_job.c and calls_archive.c.
module cpagent_job
  use, intrinsic :: iso_c_binding
  use cpagent_base
  implicit none
  private

  public :: cpa_should_checkpoint, cpa_set_due, cpa_get_due, cpa_incarnation, cpa_snapshot, cpa_set_interval
  public :: cpa_get_interval, cpa_start, cpa_stop, cpa_register, cpa_save, cpa_load, cpa_version

  interface
    ! Seconds from one checkpoint to the next (0: by cost and failure rate), and between failures (0: as known).
    subroutine cpa_set_due(cp, every, mtbf, ierr) bind(C, name="cpa_f_set_due")
      import
      type(cpa), intent(in) :: cp
      real(c_double), intent(in), value :: every, mtbf
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! The interval that cpa_should_checkpoint() goes by now, in seconds.
    function cpa_get_due(cp) result(every) bind(C, name="cpa_f_get_due")
      import
      type(cpa), intent(in) :: cp
      real(c_double) :: every
    end function

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

    subroutine cpa_get_interval(cp, update, save, ierr) bind(C, name="cpa_f_get_interval")
      import
      type(cpa), intent(in) :: cp
      real(c_double), intent(out) :: update, save
      integer(c_int), intent(out), optional :: ierr
    end subroutine

    ! Periodic updates and saves of this job on, or off.
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

    ! Register this job's agent with a higher one (tcp://HOST:PORT).
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

    ! The newest version that every rank of a group has of key; without a group, this job's own; without a key, of
    ! every key. An error: negative. timeout: seconds to wait for ranks (a minute), < 0: for ever.
    function cpa_version(cp, group, key, timeout) result(version) bind(C, name="cpa_f_version")
      import
      type(cpa), intent(in) :: cp
      character(len=*), intent(in), optional :: group, key
      real(c_double), intent(in), optional :: timeout
      integer(c_int64_t) :: version
    end function

    function f_should_checkpoint(cp) result(due) bind(C, name="cpa_f_should_checkpoint")
      import
      type(cpa), intent(in) :: cp
      integer(c_int) :: due
    end function
  end interface

contains

  ! Is a checkpoint due? A few tens of nanoseconds: call it in every iteration.
  logical function cpa_should_checkpoint(cp)
    type(cpa), intent(in) :: cp

    cpa_should_checkpoint = f_should_checkpoint(cp) == 1
  end function
end module
