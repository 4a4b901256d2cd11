/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/delta_model.h"

#include <stdlib.h>
#include <string.h>

void delta_model_init(struct delta_model *model)
{
	memset(model, 0, sizeof(*model));
}

void delta_model_destroy(struct delta_model *model)
{
	free(model->deltas);
}

void delta_model_add(struct delta_model *model, const struct rs_delta *delta)
{
	if (model->count == model->capacity) {
		model->capacity = 2 * model->capacity + 16;
		model->deltas = realloc(model->deltas, model->capacity * sizeof(*model->deltas));
		assert_non_null(model->deltas);
	}
	model->deltas[model->count++] = *delta;
}

static void net_begin(struct delta_net *net, const struct rs_delta *delta)
{
	bool root = rs_delta_type(delta) == RS_DELTA_ROOT;

	memset(net, 0, sizeof(*net));
	net->key[0] = delta->bytenr;
	net->key[1] = rs_delta_type(delta);
	net->key[2] = delta->root;
	net->key[3] = root ? 0 : delta->owner;
	net->key[4] = root ? 0 : delta->offset;
	net->count = delta->count;
	net->reserved = root ? delta->reserved : 0;
}

void delta_model_net(const struct delta_model *model, uint64_t bytenr, uint64_t seq_max, bool apart,
		     struct delta_nets *nets)
{
	size_t kept = 0;
	size_t from;
	size_t at;

	nets->count = 0;
	nets->nets = calloc(model->count + 1, sizeof(*nets->nets));
	assert_non_null(nets->nets);
	for (from = 0; from < model->count; from++) {
		const struct rs_delta *delta = &model->deltas[from];
		struct delta_net net;

		if (rs_delta_seq(delta) > seq_max ||
		    (bytenr != DELTA_MODEL_ALL && delta->bytenr != bytenr))
			continue;
		net_begin(&net, delta);
		net.seq = apart ? rs_delta_seq(delta) : 0;
		for (at = 0; at < nets->count; at++)
			if (!memcmp(nets->nets[at].key, net.key, sizeof(net.key)) &&
			    nets->nets[at].seq == net.seq)
				break;
		if (at == nets->count) {
			nets->nets[nets->count++] = net;
			continue;
		}
		nets->nets[at].count += net.count;
		nets->nets[at].reserved += net.reserved;
	}
	for (at = 0; at < nets->count; at++)
		if (nets->nets[at].count || nets->nets[at].reserved)
			nets->nets[kept++] = nets->nets[at];
	nets->count = kept;
}

void delta_nets_destroy(struct delta_nets *nets)
{
	free(nets->nets);
}

bool delta_nets_see(struct delta_nets *nets, const struct rs_delta *delta)
{
	struct delta_net net;
	size_t at;

	net_begin(&net, delta);
	for (at = 0; at < nets->count; at++) {
		struct delta_net *expected = &nets->nets[at];

		if (memcmp(expected->key, net.key, sizeof(net.key)) != 0)
			continue;
		if (expected->seen || expected->count != net.count ||
		    expected->reserved != net.reserved) {
			print_error(
				"extent %llu type %llu: found %lld (%llu), expected %lld (%llu)%s\n",
				(unsigned long long)net.key[0], (unsigned long long)net.key[1],
				(long long)net.count, (unsigned long long)net.reserved,
				(long long)expected->count, (unsigned long long)expected->reserved,
				expected->seen ? ", seen before" : "");
			return false;
		}
		expected->seen = true;
		return true;
	}
	print_error("extent %llu type %llu: found %lld (%llu), expected nothing\n",
		    (unsigned long long)net.key[0], (unsigned long long)net.key[1],
		    (long long)net.count, (unsigned long long)net.reserved);
	return false;
}

bool delta_nets_all_seen(const struct delta_nets *nets)
{
	size_t at;

	for (at = 0; at < nets->count; at++) {
		if (nets->nets[at].seen)
			continue;
		print_error("extent %llu type %llu: expected %lld (%llu), not found\n",
			    (unsigned long long)nets->nets[at].key[0],
			    (unsigned long long)nets->nets[at].key[1],
			    (long long)nets->nets[at].count,
			    (unsigned long long)nets->nets[at].reserved);
		return false;
	}
	return true;
}

void delta_model_forget(struct delta_model *model, uint64_t cut, uint64_t bytenr)
{
	size_t from;
	size_t to = 0;

	for (from = 0; from < model->count; from++)
		if (rs_delta_seq(&model->deltas[from]) > cut ||
		    model->deltas[from].bytenr >= bytenr)
			model->deltas[to++] = model->deltas[from];
	model->count = to;
}

/* In the order that rs_head promises; by parts, drops behind additions. */
static bool in_order(const struct rs_delta *a, const struct rs_delta *b)
{
	struct delta_net first;
	struct delta_net second;
	unsigned at;

	if ((a->count < 0) != (b->count < 0) && rs_delta_type(a) != RS_DELTA_ROOT)
		return a->count > 0;
	net_begin(&first, a);
	net_begin(&second, b);
	for (at = 0; at < 5; at++)
		if (first.key[at] != second.key[at])
			return first.key[at] < second.key[at];
	return false;
}

bool delta_head_is_well_formed(const struct rs_head *head)
{
	bool good = head->ref_count || head->root_count;
	size_t at;

	for (at = 0; at < head->ref_count; at++) {
		const struct rs_delta *ref = &head->refs[at];

		good &= ref->count != 0 && rs_delta_type(ref) != RS_DELTA_ROOT;
		good &= ref->bytenr == head->bytenr;
		good &= !at || in_order(&head->refs[at - 1], ref);
	}
	for (at = 0; at < head->root_count; at++) {
		const struct rs_delta *root = &head->roots[at];

		good &= root->count || root->reserved;
		good &= rs_delta_type(root) == RS_DELTA_ROOT && root->bytenr == head->bytenr;
		good &= !at || head->roots[at - 1].root < root->root;
	}
	return good;
}

void delta_random(struct random_state *random, unsigned extents, uint64_t seq,
		  struct rs_delta *delta)
{
	static const enum rs_delta_type types[] = {
		RS_DELTA_ROOT,
		RS_DELTA_ROOT,
		RS_DELTA_TREE_BLOCK_REF,
		RS_DELTA_EXTENT_DATA_REF,
		RS_DELTA_SHARED_BLOCK_REF,
		RS_DELTA_SHARED_DATA_REF,
	};
	enum rs_delta_type type = types[random_state_below(random, 6)];

	memset(delta, 0, sizeof(*delta));
	delta->bytenr = random_state_below(random, extents) * RS_DELTA_UNIT << 8;
	delta->root = 256 + random_state_below(random, 3);
	delta->length_4k = 4;
	delta->count = random_state_chance(random, 1, 2) ? 1 : -1;
	if (random_state_chance(random, 1, 8))
		delta->count *= (int32_t)random_state_below(random, 4);
	if (type == RS_DELTA_EXTENT_DATA_REF) {
		delta->owner = 257 + random_state_below(random, 2);
		delta->offset = random_state_below(random, 2) * RS_DELTA_UNIT;
	}
	if (type == RS_DELTA_ROOT && random_state_chance(random, 1, 6))
		delta->reserved = RS_DELTA_UNIT * (1 + random_state_below(random, 3));
	delta->seq_type = seq << 8 | (uint64_t)type;
}
