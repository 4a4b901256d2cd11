/* SPDX-License-Identifier: MIT */
/*
 * What a record path must do, in the plainest way: a list of all deltas that are pending, netted
 * by comparing each with each. Shares nothing with core/delayed. One thread.
 */
#ifndef REFSTORM_TEST_DELTA_MODEL_H
#define REFSTORM_TEST_DELTA_MODEL_H

#include "core/base/random.h"
#include "refstorm/record.h"

#define DELTA_MODEL_ALL UINT64_MAX

struct delta_model {
	struct rs_delta *deltas;
	size_t count;
	size_t capacity;
};

/* What one key comes to. */
struct delta_net {
	uint64_t key[5]; /* bytenr, type, root or parent, owner, offset */
	int64_t count;
	uint64_t reserved;
	uint64_t seq; /* a key's part of one number only; 0: of several */
	bool seen;
};

struct delta_nets {
	struct delta_net *nets;
	size_t count;
};

void delta_model_init(struct delta_model *model);
void delta_model_destroy(struct delta_model *model);
void delta_model_add(struct delta_model *model, const struct rs_delta *delta);

/*
 * The nets, but those that are nothing, of all deltas by numbers up to `seq_max`, of the extent at
 * `bytenr` or of all; `apart`: each number for itself. To be freed with delta_nets_destroy.
 */
void delta_model_net(const struct delta_model *model, uint64_t bytenr, uint64_t seq_max, bool apart,
		     struct delta_nets *nets);
void delta_nets_destroy(struct delta_nets *nets);

/* True, once for each net: the delta says what a net says. */
bool delta_nets_see(struct delta_nets *nets, const struct rs_delta *delta);
bool delta_nets_all_seen(const struct delta_nets *nets);

/* Forgets those of numbers up to the cut of extents below `bytenr`. */
void delta_model_forget(struct delta_model *model, uint64_t cut, uint64_t bytenr);

/* A head is as rs_head promises: order, no key twice, nothing without effect. */
bool delta_head_is_well_formed(const struct rs_head *head);

/* Of few keys, so that they meet: of `extents` extents, each type, counts that cancel at times. */
void delta_random(struct random_state *random, unsigned extents, uint64_t seq,
		  struct rs_delta *delta);

#endif /* REFSTORM_TEST_DELTA_MODEL_H */
