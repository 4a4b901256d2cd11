/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the live ledger share.
 *
 * Changes of a commit are applied in a phase, by one thread or by the workers of the pool. What a
 * worker finds goes to arrays of its own: bytes by the edges they move along (folds), and how
 * often ids are named (holds). One thread adds these up behind the phase, and groups see each
 * edge once.
 *
 * Of an id that a word names it is known only when it is looked at whether it forwards. Nothing
 * begins to forward in a phase, so that what a fold names does not forward until the phase has
 * ended.
 */
#ifndef REFSTORM_QGROUP_LIVE_LEDGER_IMPL_H
#define REFSTORM_QGROUP_LIVE_LEDGER_IMPL_H

#include "core/base/segments.h"
#include "core/qgroup/live_ledger.h"

/*
 * Roots that reference an extent `upto` times, and more often than the layer before says, or
 * more.
 */
struct live_layer {
	uint32_t upto;
	uint32_t set;
};

#define LIVE_LAYERS_INSIDE 3U
#define LIVE_COUNT_MAX (UINT32_MAX - 1)     /* references of one root */
#define LIVE_LAYERS_MAX (UINT32_C(1) << 31) /* records */

/* The layers of one extent, in which no two neighbours are equal but after a drop. */
struct live_layers {
	order_u32 next; /* in a list of records that are not in use: number + 1, 0 at its end */
	uint32_t count; /* 0: not in use */
	RS_EXTENSION union {
		struct live_layer few[LIVE_LAYERS_INSIDE];
		struct live_layer *many; /* of count > LIVE_LAYERS_INSIDE */
	};
};

/* Layers that are being worked on, no two neighbours equal, none empty. */
struct live_stack {
	struct live_layer *layers;
	size_t count;
	size_t capacity;
};

/*
 * A set, a root, and the set with that root toggled. The root's stamp is in no other entry once the
 * root behind it in the lineage is another one, so such an entry is found no more. The fold is
 * one of this phase if it is below their count and of the same edge.
 */
struct live_memo {
	uint32_t set;
	uint32_t stamp;
	uint32_t toggled; /* may forward by now; LIVE_MEMO_GAINS: it has the root, and `set` has not */
	uint32_t fold;
};

#define LIVE_MEMO_BITS 14U
#define LIVE_MEMO_COUNT (1U << LIVE_MEMO_BITS)
#define LIVE_MEMO_GAINS (UINT32_C(1) << 31)

/* What moved along an edge: from `small` to `big`, or back if negative. Neither forwards. */
struct live_fold {
	uint32_t small;
	uint32_t big; /* with the root of the element */
	uint32_t element;
	int32_t words; /* of extents: those that named the one, and name the other now */
	int64_t data;
	int64_t metadata;
};

struct live_hold {
	uint32_t set;
	int32_t change;
};

/* A root's change of an extent. */
struct live_step {
	uint64_t label;
	uint64_t root;
	int64_t count;
	uint32_t element;
};

/* An edge that the first layer of an extent takes. */
struct live_pass {
	uint32_t fold;
	bool gains;
};

enum live_fault_kind {
	LIVE_FAULT_NONE,
	LIVE_FAULT_ROOT,
	LIVE_FAULT_LOSES,
	LIVE_FAULT_MANY,
	LIVE_FAULT_GONE,
};

/* What is wrong with a change. */
struct live_fault {
	enum live_fault_kind kind;
	size_t at; /* the change */
	uint64_t bytenr;
	uint64_t root;
	uint64_t has;
	int64_t count;
};

struct live_worker {
	struct live_ledger *ledger;
	struct live_memo *memos;
	struct live_fold *folds;
	size_t fold_count;
	size_t fold_capacity;
	uint64_t root; /* the last that was looked for, 0 at first, and its element */
	uint32_t element;
	int error;
	uint64_t misses;
	struct live_hold *holds;
	size_t hold_count;
	size_t hold_capacity;
	struct live_stack stack;
	struct live_step *steps;
	size_t step_capacity;
	struct live_pass *passes;
	size_t pass_count;
	size_t pass_capacity;
	struct live_fault fault; /* of the first change that has one */
	uint32_t given_first;    /* list of records that this worker has given back */
	uint32_t given_last;
	int64_t layered;     /* records taken, less those given back, in this phase */
	int64_t layer_bytes; /* outside of them */
} __attribute__((aligned(ORDER_LINE)));

struct live_ledger {
	struct pool *pool;
	struct lineage lineage;
	struct live_sets *sets;
	struct live_groups *groups;
	struct live_worker *workers;
	uint32_t worker_count;
	uint32_t parallel_min; /* with so many changes the pool's workers are woken; tests have less */
	int broken;            /* 0, or the error since which nothing is right */
	uint32_t *stamps;      /* by element */
	size_t stamp_capacity;
	uint32_t stamp_last;
	/* Open addressing: elements by their root ids. */
	uint32_t *roots;
	uint32_t root_mask;
	uint32_t root_count;
	uint64_t dropping; /* the root whose group is gone already, or 0 */
	/* Edges of a commit. */
	struct live_edge *edges;
	size_t edge_count;
	size_t edge_capacity;
	uint32_t *edge_places; /* open addressing: index + 1 */
	size_t edge_place_count;
	struct segments records;
	order_u32 unused; /* list of records; in a phase it only gets shorter */
	uint64_t layered;
	uint64_t layer_bytes;
	uint64_t changes;
	uint64_t edges_ever;
	uint64_t words_made;
};

/* live_ledger_roots.c: elements by root ids. */

/* LINEAGE_NONE: not known. */
uint32_t live_roots_find(const struct live_ledger *ledger, uint64_t root);
/* Room for one more. 0 or -ENOMEM. */
int live_roots_reserve(struct live_ledger *ledger) __attribute__((warn_unused_result));
void live_roots_insert(struct live_ledger *ledger, uint32_t element);
/* Its element is still in the lineage. */
void live_roots_remove(struct live_ledger *ledger, uint32_t element);
/* Room for the stamps of elements that come next. 0 or -ENOMEM. */
int live_stamps_reserve(struct live_ledger *ledger) __attribute__((warn_unused_result));
/* What memos know of the element is not so any more. */
void live_stamps_renew(struct live_ledger *ledger, uint32_t element);

static inline uint32_t live_worker_element(struct live_worker *worker, uint64_t root)
{
	if (root != worker->root) {
		worker->element = live_roots_find(worker->ledger, root);
		worker->root = root;
	}
	return worker->element;
}

/* live_ledger_memo.c */

static inline uint32_t live_memo_place(uint32_t set, uint32_t stamp)
{
	uint64_t key = (uint64_t)stamp << 32 | set;

	return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - LIVE_MEMO_BITS));
}

/*
 * The fold of the edge from a set to that with the root toggled, if the phase has one; else
 * NULL. A set that has one does not forward.
 */
static inline struct live_fold *live_fold_find(struct live_worker *worker, uint32_t set,
					       uint32_t element, uint32_t stamp)
{
	const struct live_memo *memo = &worker->memos[live_memo_place(set, stamp)];
	struct live_fold *fold;

	if (memo->set != set || memo->stamp != stamp || memo->fold >= worker->fold_count)
		return NULL;
	fold = &worker->folds[memo->fold];
	if (fold->element != element || (fold->small != set && fold->big != set))
		return NULL;
	return fold;
}

/*
 * The same, and makes it; `set` does not forward. Valid until the next one is made. 0, -ENOMEM,
 * -E2BIG.
 */
int live_fold_get(struct live_worker *worker, uint32_t set, uint32_t element,
		  struct live_fold **out) __attribute__((warn_unused_result));
/* Of all workers. */
void live_memos_clear(struct live_ledger *ledger);

static inline void live_fold_move(struct live_fold *fold, bool gains, uint64_t bytes, bool metadata)
{
	int64_t moved = gains ? (int64_t)bytes : -(int64_t)bytes;

	if (metadata)
		fold->metadata += moved;
	else
		fold->data += moved;
}

/* Adds up what the workers found, and tells the groups; the sets are settled. 0 or -ENOMEM. */
int live_folds_settle(struct live_ledger *ledger) __attribute__((warn_unused_result));

/* live_ledger_layers.c: words. */

/*
 * What a word says, layer by layer, from the first: sets are found, equal neighbours one layer,
 * and none is empty.
 */
struct live_cursor {
	const struct live_ledger *ledger;
	const struct live_layer *layers;
	uint32_t count;
	uint32_t at;
	struct live_layer plain; /* of a word without layers */
};

void live_cursor_begin(struct live_cursor *cursor, const struct live_ledger *ledger, uint32_t word);
bool live_cursor_next(struct live_cursor *cursor, struct live_layer *layer);

/* Room for `more` layers. 0 or -ENOMEM. */
int live_stack_reserve(struct live_stack *stack, size_t more) __attribute__((warn_unused_result));
/* The layers of a word. 0 or -ENOMEM. */
int live_stack_load(struct live_worker *worker, uint32_t word) __attribute__((warn_unused_result));
/* As it is wanted: no two neighbours equal, none empty. */
void live_stack_trim(struct live_stack *stack);
/*
 * The word says what the stack does: gives up what it named, for which it takes the record, or
 * another one. 0, or -ENOMEM or -E2BIG with the word as it was.
 */
int live_stack_store(struct live_worker *worker, uint32_t *word)
	__attribute__((warn_unused_result));

/* Room for so many more. 0 or -ENOMEM. */
int live_holds_reserve(struct live_worker *worker, size_t more) __attribute__((warn_unused_result));
/* There is room. Nothing of the empty set. */
static inline void live_hold_add(struct live_worker *worker, uint32_t set, int32_t change)
{
	if (set != LIVE_SET_EMPTY)
		worker->holds[worker->hold_count++] = (struct live_hold){ set, change };
}

/* Outside of phases: what the word names is given up. */
void live_word_forget(struct live_worker *worker, uint32_t word);
/*
 * Outside of phases: the sets are held as the worker says; records that it gave back are
 * anybody's.
 */
void live_worker_settle(struct live_worker *worker);
void live_layers_clear(struct live_ledger *ledger);

/*
 * live_ledger_change.c: any change of one extent. 0, -ENOMEM; what is wrong with it goes to the
 * worker's fault.
 */
int live_change_apply(struct live_worker *worker, struct live_change *change, size_t at,
		      const struct live_delta *deltas) __attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_LIVE_LEDGER_IMPL_H */
