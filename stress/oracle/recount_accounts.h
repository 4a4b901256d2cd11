/* SPDX-License-Identifier: MIT */
/*
 * Exact sums of root deltas for each root and extent, from what an observer of the forest is told,
 * to be compared with a recount: what accounting is fed is whole, and no more.
 *
 * Who may call: recount_accounts_head, _snapshot and _deleted whoever commits, one at a time; they
 * are functions of struct rs_observer, the accounts the argument. The rest one thread, at rest,
 * right behind a commit. Memory: 64 to 128 bytes for each extent of each root: for tests of
 * moderate size.
 */
#ifndef REFSTORM_ORACLE_RECOUNT_ACCOUNTS_H
#define REFSTORM_ORACLE_RECOUNT_ACCOUNTS_H

#include "refstorm/forest.h"
#include "stress/oracle/recount.h"

struct recount_accounts;

/* Of a forest that is empty. 0 or -ENOMEM. */
int recount_accounts_create(struct recount_accounts **out) __attribute__((warn_unused_result));
void recount_accounts_destroy(struct recount_accounts *accounts);

/* Begins with what the recount, one with `holdings`, has found: of an image. 0 or -ENOMEM. */
int recount_accounts_load(struct recount_accounts *accounts, const struct recount *recount)
	__attribute__((warn_unused_result));

/* 0 or -ENOMEM; -EUCLEAN: an event of a root that is deleted, or of one that is its own source. */
int recount_accounts_head(void *accounts, const struct rs_head *head)
	__attribute__((warn_unused_result));
int recount_accounts_snapshot(void *accounts, uint64_t source, uint64_t root)
	__attribute__((warn_unused_result));
int recount_accounts_deleted(void *accounts, uint64_t root) __attribute__((warn_unused_result));

/* Each difference to the recount, one with `holdings`, goes to its report. 0 or -ENOMEM. */
int recount_accounts_compare(const struct recount_accounts *accounts, struct recount *recount)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_RECOUNT_ACCOUNTS_H */
