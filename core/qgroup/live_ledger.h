/* SPDX-License-Identifier: MIT */
/*
 * The live ledger: for each extent which roots reference it, once, twice and so on; bytes for each distinct
 * set of roots that do at least once; from these, the counters of all groups.
 *
 * An extent is known by a word that its owner keeps (the index of extents): 0 nobody references it;
 * else the id of a root set where each root does so once; with LIVE_WORD_LAYERED the number of layers
 * that are kept here: S1 the roots that reference it at least once, S2 at least twice, ..., equal
 * neighbours one entry.
 *
 * Who may call: the accounts' thread alone; the pool, where one is given, works for it.
 * Failure: -ENOMEM in the middle of a change leaves the ledger unusable (live_ledger_broken) until it is
 * cleared: the accounts are inconsistent, and a rescan makes them right again.
 */
#ifndef REFSTORM_QGROUP_LIVE_LEDGER_H
#define REFSTORM_QGROUP_LIVE_LEDGER_H

#include "core/base/pool.h"
#include "core/qgroup/live_groups.h"
#include "core/qgroup/live_sets.h"

#define LIVE_WORD_NONE 0U
#define LIVE_WORD_LAYERED (UINT32_C(1) << 31)

struct live_ledger; /* live_ledger_impl.h */

/* What roots gained or lost of one extent in one commit. */
struct live_change {
	uint64_t bytenr; /* for messages */
	uint64_t bytes;  /* of the extent */
	uint32_t word;   /* before; live_ledger_apply puts there what it is then */
	bool metadata;
	bool gone;      /* it is freed: no root has it then, or the accounts are wrong */
	uint32_t first; /* of its deltas */
	uint32_t count; /* may be 0 of one that is gone */
};

struct live_delta {
	uint64_t root;
	int64_t count; /* items, or for a tree block: trees. Not 0 */
};

/* `pool` may be NULL: all is done by the caller. 0 or -ENOMEM. */
int live_ledger_create(struct pool *pool, struct live_ledger **out)
	__attribute__((warn_unused_result));
void live_ledger_destroy(struct live_ledger *ledger);

/* The parts of it. */
struct live_groups *live_ledger_groups(struct live_ledger *ledger);
struct live_sets *live_ledger_sets(struct live_ledger *ledger);
const struct lineage *live_ledger_lineage(const struct live_ledger *ledger);

/* A subvolume without a source, or whose source does not matter. 0, -ENOMEM, -E2BIG. */
int live_ledger_root_add(struct live_ledger *ledger, uint64_t root)
	__attribute__((warn_unused_result));
bool live_ledger_has_root(const struct live_ledger *ledger, uint64_t root);

/*
 * All changes of a commit, each extent once, the deltas of one extent ascending by root, each root once and known. Groups
 * have begun (live_groups_begin). 0; -ENOMEM; -EUCLEAN with what and where in `error`, if a root loses what
 * it does not have, or an extent is gone that some root has: then those changes are left out, and the
 * accounts are wrong.
 */
int live_ledger_apply(struct live_ledger *ledger, struct live_change *changes, size_t count,
		      const struct live_delta *deltas, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Behind the changes up to it, and before those of the new root. As live_groups_snapshot. 0, -ENOMEM, -E2BIG: it is not there. */
int live_ledger_snapshot(struct live_ledger *ledger, uint64_t source, uint64_t root,
			 const uint64_t *parents, size_t count) __attribute__((warn_unused_result));

/* Behind all changes. 0 or -ENOMEM: the ledger is broken, and the root has to be dropped again when it is cleared. */
int live_ledger_drop(struct live_ledger *ledger, uint64_t root) __attribute__((warn_unused_result));

/* At the end of each commit's accounts: recounts stale groups, publishes, and gives back what is not used. 0 or -ENOMEM. */
int live_ledger_finish(struct live_ledger *ledger) __attribute__((warn_unused_result));

/* Nothing is known of any extent any more: words become LIVE_WORD_NONE, which the owner sees to. Roots and groups stay. */
void live_ledger_clear(struct live_ledger *ledger);
bool live_ledger_broken(const struct live_ledger *ledger);

/*
 * For a rescan, which works out words by itself: the set of one root; and each root of a set references the
 * extent `times` more. `word` is one that was made here, or LIVE_WORD_NONE; the old one is given up. Words that are
 * not wanted are given back by live_ledger_word_drop. 0, -ENOMEM, -E2BIG; -ENOENT unknown root; the word is then as it was.
 * Sets are found (live_sets_find); one that no word names is good up to the next live_ledger_finish.
 */
int live_ledger_set_of(struct live_ledger *ledger, uint64_t root, uint32_t *set)
	__attribute__((warn_unused_result));
int live_ledger_word_add(struct live_ledger *ledger, uint32_t *word, uint32_t set, uint32_t times)
	__attribute__((warn_unused_result));
void live_ledger_word_drop(struct live_ledger *ledger, uint32_t word);
/* Whether both say the same. */
bool live_ledger_word_same(const struct live_ledger *ledger, uint32_t a, uint32_t b);
/* The first layer: a set that does not forward. */
uint32_t live_ledger_word_set(const struct live_ledger *ledger, uint32_t word);

/* Gives back the ids that nothing holds. Settled; not in a commit's accounts. Worth it where many are unused. */
void live_ledger_sweep(struct live_ledger *ledger);

/*
 * The bytes of an extent that were counted for the roots of `from` are counted for those of `to`, both sets. To
 * a group's counters they come with the next live_ledger_recount_all.
 */
void live_ledger_move(struct live_ledger *ledger, uint32_t from, uint32_t to, uint64_t bytes,
		      bool metadata);
/* All groups from the sets; how many were wrong in `*wrong`. 0 or -ENOMEM. */
int live_ledger_recount_all(struct live_ledger *ledger, size_t *wrong)
	__attribute__((warn_unused_result));

/* Bytes of extents that only these roots reference. 0, -ENOENT, -ENOMEM. */
int live_ledger_reclaimable(struct live_ledger *ledger, const uint64_t *roots, size_t count,
			    uint64_t *bytes) __attribute__((warn_unused_result));

struct live_ledger_figures {
	struct live_sets_figures sets;
	uint64_t layered;     /* extents with layers */
	uint64_t bytes;       /* of memory, all */
	uint64_t changes;     /* applied, ever */
	uint64_t memo_misses; /* changes of sets that were not known, ever */
	uint64_t edges;       /* that bytes moved along, ever */
};
void live_ledger_figures_read(const struct live_ledger *ledger,
			      struct live_ledger_figures *figures);

#endif /* REFSTORM_QGROUP_LIVE_LEDGER_H */
