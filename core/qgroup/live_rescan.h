/* SPDX-License-Identifier: MIT */
/*
 * Counting everything again beside writers, in steps. A step holds the commit lock: what it reads, the index of
 * extents and the committed trees, are as of one commit, and so are the accounts; it works out what
 * each of its extents' word should be, and installs that before the next commit's changes are applied. So no
 * step is ever thrown away, and no second set of numbers is needed: a rescan of consistent accounts
 * compares each word with the one that is there and mends what differs; one of inconsistent accounts
 * begins with nothing, and moves the bound below which changes count (struct live_accounts, known).
 *
 * Who may call: live_rescan_start, _pause, _resume, _cancel, _lose the holder of the commit lock;
 * live_rescan_outcome and live_rescan_read any thread.
 */
#ifndef REFSTORM_QGROUP_LIVE_RESCAN_H
#define REFSTORM_QGROUP_LIVE_RESCAN_H

#include "refstorm/quota.h"

struct live_accounts;
struct live_rescan;

/* With a thread of its own, which sleeps until it is started. 0, -ENOMEM, -EAGAIN. */
int live_rescan_create(struct live_accounts *accounts, struct live_rescan **out)
	__attribute__((warn_unused_result));
/* Ends it, in the middle if it runs. No lock is held. NULL is allowed. */
void live_rescan_destroy(struct live_rescan *rescan);

/* 0 or -EINPROGRESS. */
int live_rescan_start(struct live_rescan *rescan) __attribute__((warn_unused_result));
/* 0 or -EINVAL. */
int live_rescan_pause(struct live_rescan *rescan) __attribute__((warn_unused_result));
int live_rescan_resume(struct live_rescan *rescan) __attribute__((warn_unused_result));
int live_rescan_cancel(struct live_rescan *rescan) __attribute__((warn_unused_result));

/* Begins, or begins again, with nothing. */
void live_rescan_restart(struct live_rescan *rescan);

/* The accounts were given up: one that runs begins again with nothing. NULL is allowed. */
void live_rescan_lose(struct live_rescan *rescan);

/* -EINPROGRESS: it runs; else as rs_rescan_wait. */
int live_rescan_outcome(const struct live_rescan *rescan) __attribute__((warn_unused_result));
void live_rescan_read(const struct live_rescan *rescan, struct rs_quota_status *status);

#endif /* REFSTORM_QGROUP_LIVE_RESCAN_H */
