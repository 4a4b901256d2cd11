// SPDX-License-Identifier: MIT
#include "core/qgroup/chain.h"

#include <errno.h>

#include "core/base/alloc.h"

int chain_init(struct chain *chain, uint32_t items)
{
	*chain = (struct chain){ .capacity = items };
	chain->links = alloc_array(items, sizeof(*chain->links));
	chain->next = alloc_array(items, sizeof(*chain->next));
	if (chain->links && chain->next)
		return 0;
	chain_destroy(chain);
	return -ENOMEM;
}

void chain_destroy(struct chain *chain)
{
	alloc_free(chain->links);
	alloc_free(chain->next);
	*chain = (struct chain){ 0 };
}

void chain_begin(struct chain *chain, const struct run *runs, size_t count)
{
	chain->runs = runs;
	chain->run_count = count;
	chain->cursor = 0;
	chain->next_count = 0;
}

/* The runs of this block, all but the last added to the target at once. */
static int start_pending(const struct chain *chain, struct chain_link *link)
{
	size_t at;
	int ret = 0;

	for (at = 0; !ret && at + 1 < chain->run_count; at++)
		ret = runs_add(link->target, chain->runs[at]);
	link->pending = chain->runs[chain->run_count - 1];
	return ret;
}

static int extend_pending(const struct chain *chain, struct chain_link *link)
{
	struct run run = chain->runs[0];
	int ret;

	if (chain->run_count == 1 && run.begin <= link->pending.end &&
	    run.end >= link->pending.begin) {
		if (run.begin < link->pending.begin)
			link->pending.begin = run.begin;
		if (run.end > link->pending.end)
			link->pending.end = run.end;
		return 0;
	}
	ret = runs_add(link->target, link->pending);
	return ret ? ret : start_pending(chain, link);
}

bool chain_take(struct chain *chain, const struct chain_item *item, int *result)
{
	while (chain->cursor < chain->count) {
		struct chain_link *link = &chain->links[chain->cursor];
		int order = format_key_compare(&link->item.key, &item->key);
		int ret;

		if (order > 0)
			return false;
		chain->cursor++;
		if (!order && link->item.bytenr == item->bytenr &&
		    link->item.check == item->check) {
			ret = extend_pending(chain, link);
			if (ret)
				*result = ret;
			chain->next[chain->next_count++] = *link;
			return true;
		}
		/* The item is gone from this version. */
		ret = runs_add(link->target, link->pending);
		if (ret)
			*result = ret;
	}
	return false;
}

int chain_add(struct chain *chain, const struct chain_item *item, struct runs *target)
{
	struct chain_link *link = &chain->next[chain->next_count++];

	link->item = *item;
	link->target = target;
	return start_pending(chain, link);
}

/* Those of the block before that this one does not have. */
static int give_up_rest(struct chain *chain)
{
	int ret = 0;

	while (chain->cursor < chain->count) {
		const struct chain_link *link = &chain->links[chain->cursor++];
		int failed = runs_add(link->target, link->pending);

		if (failed)
			ret = failed;
	}
	return ret;
}

int chain_end(struct chain *chain)
{
	struct chain_link *free_links = chain->links;
	int ret = give_up_rest(chain);

	chain->links = chain->next;
	chain->count = chain->next_count;
	chain->next = free_links;
	chain->next_count = 0;
	chain->cursor = chain->count;
	return ret;
}

int chain_finish(struct chain *chain)
{
	int ret;

	chain->cursor = 0;
	ret = give_up_rest(chain);
	chain->count = 0;
	return ret;
}
