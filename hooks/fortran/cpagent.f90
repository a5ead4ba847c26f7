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
! Variables of any intrinsic type, kind and rank, also sections. cpa_var() keeps a variable's address until the call
! that it is an argument of: so they are TARGETs, and variables, no expressions (see cpa_const()). Trailing blanks of keys,
! names and paths do not count. ierr is 0, a count, or a CPA_ERR_ code; where it is left out, an error ends the program
! with a sentence.
module cpagent
  use cpagent_base, only: CPA_OK, CPA_ERR_ARG, CPA_ERR_KEY, CPA_ERR_VAR, CPA_ERR_FULL, CPA_ERR_CORRUPT, &
    CPA_ERR_BROKEN, CPA_ERR_FORMAT, CPA_ERR_LEVEL, CPA_ERR_TIMEOUT, CPA_ERR_BUSY, CPA_ERR_DENIED, CPA_ERR_MEMORY, &
    CPA_ERR_SYSTEM, CPA_ERR_REGION, CPA_TAKEN, CPA_RESTORED, CPA_FRESH, CPA_FROM_SNAPSHOT, CPA_FROM_KEYS, &
    CPA_MEMO_LIMIT, CPA_MEMO_COMPARE, cpa, cpa_memo, cpa_variable, cpa_strerror
  use cpagent_keys
  use cpagent_regions
  use cpagent_memos
  use cpagent_job
  use cpagent_callbacks
  implicit none
end module
