/* SPDX-License-Identifier: MIT */
#include "stress/oracle/recount_accounts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "stress/oracle/recount_impl.h"

#define FIRST_SUMS 64U

/* Of one root and extent. */
struct sum {
	uint64_t bytenr;
	uint64_t bytes; /* of the newest delta */
	int64_t count;
	bool used;
};

struct account {
	uint64_t root;
	struct sum *sums; /* hashed by address */
	size_t mask;
	size_t count; /* used ones, those of 0 too */
	bool deleted;
};

struct recount_accounts {
	struct account *accounts; /* ascending by root */
	size_t count;
	size_t capacity;
};

int recount_accounts_create(struct recount_accounts **out)
{
	*out = alloc_zeroed(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void recount_accounts_destroy(struct recount_accounts *accounts)
{
	size_t at;

	if (!accounts)
		return;
	for (at = 0; at < accounts->count; at++)
		alloc_free(accounts->accounts[at].sums);
	alloc_free(accounts->accounts);
	alloc_free(accounts);
}

/* The first account not below. */
static size_t account_place(const struct recount_accounts *accounts, uint64_t root)
{
	size_t low = 0;
	size_t high = accounts->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (accounts->accounts[middle].root < root)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Made where it is not; the others may move. NULL: no memory. */
static struct account *account_get(struct recount_accounts *accounts, uint64_t root)
{
	size_t at = account_place(accounts, root);
	struct account *grown;

	if (at < accounts->count && accounts->accounts[at].root == root)
		return &accounts->accounts[at];
	grown = array_grow(accounts->accounts, accounts->count, 1, &accounts->capacity,
			   sizeof(*grown));
	if (!grown)
		return NULL;
	accounts->accounts = grown;
	memmove(&grown[at + 1], &grown[at], (accounts->count - at) * sizeof(*grown));
	grown[at] = (struct account){ .root = root };
	accounts->count++;
	return &grown[at];
}

static struct sum *sum_slot(const struct account *account, uint64_t bytenr)
{
	uint64_t hash = (bytenr >> 12) * 0x9e3779b97f4a7c15ULL;
	size_t at = (size_t)(hash >> 20) & account->mask;

	/* Ends: there are free slots. */
	while (account->sums[at].used && account->sums[at].bytenr != bytenr)
		at = (at + 1) & account->mask;
	return &account->sums[at];
}

/* Twice as large if more than half would be used; what comes to nothing is left behind. */
static int account_grow(struct account *account)
{
	size_t slots = account->sums ? (account->mask + 1) * 2 : FIRST_SUMS;
	struct account larger = *account;
	size_t at;

	if (account->sums && account->count < (account->mask + 1) / 2)
		return 0;
	larger.mask = slots - 1;
	larger.count = 0;
	larger.sums = alloc_zeroed(slots, sizeof(*larger.sums));
	if (!larger.sums)
		return -ENOMEM;
	for (at = 0; account->sums && at <= account->mask; at++) {
		const struct sum *sum = &account->sums[at];

		if (!sum->used || !sum->count)
			continue;
		*sum_slot(&larger, sum->bytenr) = *sum;
		larger.count++;
	}
	alloc_free(account->sums);
	*account = larger;
	return 0;
}

static int account_add(struct account *account, uint64_t bytenr, uint64_t bytes, int64_t count)
{
	struct sum *sum;

	if (account_grow(account))
		return -ENOMEM;
	sum = sum_slot(account, bytenr);
	if (!sum->used) {
		*sum = (struct sum){ .bytenr = bytenr, .used = true };
		account->count++;
	}
	sum->count += count;
	/* Those that drop it may be merged before those that make it anew, with another length. */
	if (count > 0)
		sum->bytes = bytes;
	return 0;
}

int recount_accounts_load(struct recount_accounts *accounts, const struct recount *recount)
{
	size_t at;

	for (at = 0; at < recount->holding_count; at++) {
		const struct recount_holding *holding = &recount->holdings[at];
		struct account *account = account_get(accounts, holding->root);

		if (!account ||
		    account_add(account, holding->bytenr, holding->bytes, (int64_t)holding->count))
			return -ENOMEM;
	}
	return 0;
}

int recount_accounts_head(void *argument, const struct rs_head *head)
{
	struct recount_accounts *accounts = argument;
	size_t at;

	for (at = 0; at < head->root_count; at++) {
		const struct rs_delta *delta = &head->roots[at];
		struct account *account;

		if (!delta->count)
			continue; /* a reservation alone */
		account = account_get(accounts, delta->root);
		if (!account)
			return -ENOMEM;
		if (account->deleted)
			return -EUCLEAN;
		if (account_add(account, head->bytenr, (uint64_t)delta->length_4k * RS_DELTA_UNIT,
				delta->count))
			return -ENOMEM;
	}
	return 0;
}

/* The corrections of the root nodes are deltas of the same commit, and come first: all are sums. */
int recount_accounts_snapshot(void *argument, uint64_t source, uint64_t root)
{
	struct recount_accounts *accounts = argument;
	struct account *from;
	struct account *to;
	size_t at;

	if (source == root)
		return -EUCLEAN;
	if (!account_get(accounts, source) || !account_get(accounts, root))
		return -ENOMEM;
	from = account_get(accounts, source);
	to = account_get(accounts, root);
	if (from->deleted || to->deleted)
		return -EUCLEAN;
	for (at = 0; from->sums && at <= from->mask; at++) {
		const struct sum *sum = &from->sums[at];

		if (sum->used && sum->count && account_add(to, sum->bytenr, sum->bytes, sum->count))
			return -ENOMEM;
	}
	return 0;
}

int recount_accounts_deleted(void *argument, uint64_t root)
{
	struct recount_accounts *accounts = argument;
	struct account *account = account_get(accounts, root);

	if (!account)
		return -ENOMEM;
	if (account->deleted)
		return -EUCLEAN;
	alloc_free(account->sums);
	*account = (struct account){ .root = root, .deleted = true };
	return 0;
}

static int by_address(const void *a, const void *b)
{
	uint64_t left = ((const struct sum *)a)->bytenr;
	uint64_t right = ((const struct sum *)b)->bytenr;

	return left < right ? -1 : left > right;
}

/* The sums that are not 0, ascending by address; NULL: no memory. */
static struct sum *account_sums(const struct account *account, size_t *count)
{
	struct sum *sums = alloc_array(account->count + 1, sizeof(*sums));
	size_t at;

	*count = 0;
	if (!sums)
		return NULL;
	for (at = 0; account->sums && at <= account->mask; at++)
		if (account->sums[at].used && account->sums[at].count)
			sums[(*count)++] = account->sums[at];
	if (*count)
		qsort(sums, *count, sizeof(*sums), by_address);
	return sums;
}

static void find_difference(struct recount *recount, uint64_t root, const struct sum *sum,
			    const struct recount_holding *holding)
{
	recount_find(recount, RECOUNT_ACCOUNT, sum ? sum->bytenr : holding->bytenr,
		     "the deltas of root %" PRIu64 " come to %" PRId64 " of %" PRIu64
		     " bytes, and it has %" PRIu64 " of %" PRIu64,
		     root, sum ? sum->count : 0, sum ? sum->bytes : 0, holding ? holding->count : 0,
		     holding ? holding->bytes : 0);
}

/* One root: both sides ascend. */
static int compare_root(const struct account *account, struct recount *recount, size_t first,
			size_t end)
{
	size_t count;
	size_t at = 0;
	struct sum *sums = account_sums(account, &count);

	if (!sums)
		return -ENOMEM;
	while (at < count || first < end) {
		const struct recount_holding *holding = first < end ? &recount->holdings[first] :
								      NULL;
		const struct sum *sum = at < count ? &sums[at] : NULL;

		if (sum && holding && sum->bytenr != holding->bytenr) {
			if (sum->bytenr < holding->bytenr)
				holding = NULL;
			else
				sum = NULL;
		}
		if (!sum || !holding || sum->count < 0 || (uint64_t)sum->count != holding->count ||
		    sum->bytes != holding->bytes)
			find_difference(recount, account->root, sum, holding);
		at += sum != NULL;
		first += holding != NULL;
	}
	alloc_free(sums);
	return 0;
}

int recount_accounts_compare(const struct recount_accounts *accounts, struct recount *recount)
{
	size_t first = 0;
	size_t at = 0;
	int ret = 0;

	while (!ret && (at < accounts->count || first < recount->holding_count)) {
		uint64_t root = first < recount->holding_count ? recount->holdings[first].root :
								 UINT64_MAX;
		struct account none = { .root = root };
		const struct account *account = &none;
		size_t end = first;

		if (at < accounts->count && accounts->accounts[at].root <= root)
			account = &accounts->accounts[at++];
		while (end < recount->holding_count && recount->holdings[end].root == account->root)
			end++;
		ret = compare_root(account, recount, first, end);
		first = end;
	}
	return ret;
}
