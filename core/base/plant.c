/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/order.h"

static const struct plant plant_all[] = {
	{ PLANT_BUG, "rcu.early-free", "core/base/rcu.c",
	  "deferred calls run at once, under readers that still look at the object",
	  "rcu_test (poison seen; a race or a use after free under the sanitizers)" },
	{ PLANT_BUG, "idtable.no-second-look", "core/base/idtable.c",
	  "insertion does not look for the key again under the lock: two ids for one key",
	  "idtable_test (a key that is there gets another id)" },
	{ PLANT_BUG, "idtable.entry-relaxed", "core/base/idtable.c",
	  "an entry is stored relaxed: a record may be seen before its contents",
	  "idtable_test (tsan only: the code on x86 is the same; a race on the record)" },
	{ PLANT_BUG, "runs.unlocked-list", "core/qgroup/runs.c",
	  "a list of runs is changed by several threads at once",
	  "runs_test (runs lost; memory freed twice or used after)" },
	{ PLANT_BUG, "backref.no-implied", "stress/oracle/backref.c",
	  "what trees imply is not laid against what the extent tree has",
	  "backref_planted_test (not tsan; an extent whose references are all gone is not missed)" },
	{ PLANT_BUG, "queue.publish-early", "core/delayed/thread_queue.h",
	  "the count of a segment is published before the delta is written",
	  "thread_queue_test (a delta that was never recorded is taken)" },
	{ PLANT_BUG, "queue.publish-relaxed", "core/delayed/thread_queue.h",
	  "the count is published relaxed: a delta may be seen before its contents",
	  "thread_queue_test (tsan only: the code on x86 is the same; a race on the delta)" },
	{ PLANT_BUG, "queue.switch-uncounted", "core/delayed/thread_queue.h",
	  "a segment is left for the next one without its last delta counted",
	  "thread_queue_test (a delta of each full segment is not taken)" },
	{ PLANT_BUG, "queue.taken-twice", "core/delayed/thread_queue.c",
	  "a consumer takes what is published without claiming it",
	  "thread_queue_test (deltas taken twice)" },
	{ PLANT_BUG, "queue.partial-missed", "core/delayed/cpu_queue.c",
	  "a drain takes the full segments of a queue and loses the one being filled",
	  "cpu_queue_test (deltas recorded are not taken)" },
	{ PLANT_BUG, "segment.no-grace", "core/delayed/segment.c",
	  "segments go back to the pool under readers that still look at them",
	  "cpu_queue_test (a reader meets a poisoned segment)" },
	{ PLANT_BUG, "batch.cancel-across-cut", "core/delayed/batch.c",
	  "deltas on both sides of a cut that a view holds cancel each other",
	  "record_test (a view sees less than was recorded before it)" },
	{ PLANT_BUG, "sequence.unclosed", "core/treemod/sequence.c",
	  "heads are run up to a cut whose operations have not all ended",
	  "record_test (a runner sees half of an operation)" },
	{ PLANT_BUG, "record.counter-reread", "core/delayed/record.c",
	  "an operation's deltas carry the counter of their moment, not of its beginning",
	  "record_test (a cut tears an operation apart)" },
	{ PLANT_BUG, "view.ignored", "core/treemod/view.c",
	  "heads are run past a view that is held", "record_test (the state at a view changes)" },
	{ PLANT_BUG, "throttle.no-wake", "core/delayed/throttle.c",
	  "a run that made room does not let go on who waits for it",
	  "record_test (an operation does not begin although there is room)" },
	{ PLANT_BUG, "delta.reservation-dropped", "core/delayed/delta.h",
	  "a head that nets to nothing disappears with the reservation that it hands over",
	  "record_test (reserved bytes are lost)" },
	{ PLANT_BUG, "locked.error-forgotten", "core/delayed/locked.c",
	  "a head whose runner failed is lost and the run goes on",
	  "store_test (what the runner refused does not come again)" },
	{ PLANT_BUG, "cow.child-skipped", "core/forest/cow.c",
	  "the first reference of a block that is copied is not added",
	  "forest_test (a reference that trees imply is missing)" },
	{ PLANT_BUG, "cow.full-lost", "core/forest/cow.c",
	  "a shared block's references become full, and its flag does not say so",
	  "forest_test (a reference that no tree implies; one dropped that is not there)" },
	{ PLANT_BUG, "cow.flag-unread", "core/forest/cow.c",
	  "who copies a block goes by its count and not by its flag",
	  "forest_test (full references stay behind a block that is gone)" },
	{ PLANT_BUG, "cow.items-accounted", "core/forest/cow.c",
	  "copying a leaf reports its items as gained",
	  "forest_test (a root's items are more than its tree has)" },
	{ PLANT_BUG, "cow.reused-early", "core/forest/cow.c",
	  "a block that was committed is used again before the commit that frees it",
	  "forest_test (the committed trees are damaged while a transaction goes on)" },
	{ PLANT_BUG, "refs.account-lost", "core/forest/refs.c",
	  "losses of a root are not recorded for the accounts",
	  "forest_test (a root's items are more than its tree has)" },
	{ PLANT_BUG, "drop.twice", "core/forest/drop.c",
	  "a reference of a tree that is taken apart is dropped twice",
	  "forest_test (a reference is dropped that is not there)" },
	{ PLANT_BUG, "drop.progress-off", "core/forest/drop.c",
	  "a step begins one pointer behind where the last one stopped",
	  "forest_test (references of a tree that is gone are left)" },
	{ PLANT_BUG, "file.bookend-freed", "core/forest/file_drop.c",
	  "an extent loses its reference with a part of the file's range of it",
	  "forest_test (a reference that trees imply is missing)" },
	{ PLANT_BUG, "file.source-moved", "core/forest/file_clone.c",
	  "a clone lets its source go before its references are recorded",
	  "forest_test (a reference is added to an extent that has none)" },
	{ PLANT_BUG, "ledger.edge-twice", "core/qgroup/live_ledger_memo.c",
	  "bytes that moved along an edge are counted twice",
	  "live_ledger_model_test (a group's numbers are not those of its roots)" },
	{ PLANT_BUG, "ledger.forward-ignored", "core/qgroup/live_ledger_layers.c",
	  "a set that has become another one is not followed; in live_ledger_apply.c too",
	  "live_ledger_model_test (a root loses what it does not have)" },
	{ PLANT_BUG, "ledger.layer-off", "core/qgroup/live_ledger_change.c",
	  "a root that references an extent more often gains one layer too few",
	  "live_ledger_model_test (an extent's counts are not those of the trees)" },
	{ PLANT_BUG, "ledger.root-node", "core/qgroup/live_accounts.c",
	  "what a snapshot's own root gains and loses is lost",
	  "quota_rescan_test (a rescan finds what is wrong)" },
	{ PLANT_BUG, "accounts.after-drop", "core/qgroup/live_accounts.c",
	  "the changes of a commit are applied behind the roots that it drops",
	  "quota_rescan_test (a root that is not known loses something)" },
	{ PLANT_BUG, "rescan.stamp", "core/qgroup/live_accounts.c",
	  "a change of the extent that a first count comes to next is taken for one that is counted",
	  "quota_known_test (a root loses what it does not have, and the count begins again)" },
	{ PLANT_BUG, "sets.index-stale", "core/qgroup/live_sets_settle.c",
	  "a new set is not entered in the lists of its boundaries",
	  "live_sets_model_test (a root that is dropped stays in it)" },
	{ PLANT_BUG, "sets.id-early", "core/qgroup/live_sets_settle.c",
	  "a set knows that it is held, not how often: its id is given back while it still is",
	  "live_sets_model_test (a set is held less often than it is)" },
	{ PLANT_BUG, "lineage.end-missing", "core/qgroup/lineage.c",
	  "a family has no end: its last root ends where the next family begins",
	  "lineage_test (an element is missing; elsewhere a set ends nowhere)" },
	{ PLANT_BUG, "groups.level-missed", "core/qgroup/live_groups_recount.c",
	  "a recount leaves out the groups of level 2",
	  "live_groups_model_test (a group's numbers are not those of its roots)" },
	{ PLANT_BUG, "groups.paths-counted", "core/qgroup/live_groups_follow.c",
	  "a group above a root counts once for each way that leads there",
	  "live_groups_model_test (a group's numbers are not those of its roots)" },
	{ PLANT_WINDOW, "buffer.growing", "core/forest/buffer.c",
	  "a page of the map is filled in and not published yet", NULL },
	{ PLANT_WINDOW, "commit.stopping", "core/forest/commit.c",
	  "writers are told to stop, and those in an operation have not ended", NULL },
	{ PLANT_WINDOW, "cow.locked", "core/forest/cow.c",
	  "a shared block's count has been read under its lock and not changed yet", NULL },
	{ PLANT_WINDOW, "file.source-read", "core/forest/file_clone.c",
	  "items of a clone's source have been read and their references are not recorded", NULL },
	{ PLANT_WINDOW, "drop.passing", "core/forest/drop.c",
	  "a tree that is taken apart is about to give up a block that others have", NULL },
	{ PLANT_WINDOW, "hashed.head", "core/delayed/hashed_run.c",
	  "a head is about to go to the runner and the lock is not held", NULL },
	{ PLANT_WINDOW, "locked.taken", "core/delayed/locked.c",
	  "an extent is out of the tree and the lock is not held", NULL },
	{ PLANT_WINDOW, "heads.installing", "core/delayed/heads.c",
	  "some parts of a batch are installed and others are not", NULL },
	{ PLANT_WINDOW, "heads.looking", "core/delayed/heads.c",
	  "a look-up has come to a run and has not searched it yet", NULL },
	{ PLANT_WINDOW, "heads.swapping", "core/delayed/heads_fold.c",
	  "what was folded is about to take the place of what it was folded from", NULL },
	{ PLANT_WINDOW, "queue.claiming", "core/delayed/thread_queue.c",
	  "a consumer has seen what is published and has not claimed it yet", NULL },
	{ PLANT_WINDOW, "queue.looking", "core/delayed/cpu_queue.c",
	  "a reader has a segment's count and has not used it yet; in thread_queue.c too", NULL },
	{ PLANT_WINDOW, "queue.passing", "core/delayed/thread_queue.c",
	  "a consumer is about to leave a used-up segment behind", NULL },
	{ PLANT_WINDOW, "queue.switching", "core/delayed/cpu_queue.c",
	  "a new segment is open and not in its queue yet; in thread_queue.c too", NULL },
	{ PLANT_WINDOW, "queue.taken", "core/delayed/cpu_queue.c",
	  "segments are out of their queues, and appends in them may still go on", NULL },
	{ PLANT_WINDOW, "queue.unpublished", "core/delayed/thread_queue.h",
	  "a delta is written and its count is not published yet", NULL },
	{ PLANT_WINDOW, "queue.unwritten", "core/delayed/thread_queue.h",
	  "a delta's place is chosen and nothing is written yet", NULL },
	{ PLANT_WINDOW, "queued.merging", "core/delayed/queued.c",
	  "deltas are taken, groups are known, and nothing is merged yet", NULL },
	{ PLANT_WINDOW, "record.begun", "core/delayed/record.c",
	  "an operation has its number and has recorded nothing", NULL },
	{ PLANT_WINDOW, "segment.popping", "core/delayed/segment.c",
	  "the top of a free list is known, and the exchange comes next", NULL },
	{ PLANT_WINDOW, "sequence.closing", "core/treemod/sequence.c",
	  "the barrier is over and the slots are not looked at yet", NULL },
	{ PLANT_WINDOW, "sequence.commit-cut", "core/treemod/sequence.c",
	  "a commit's cut is taken and the transaction's end is not published", NULL },
	{ PLANT_WINDOW, "sequence.reading", "core/treemod/sequence.h",
	  "an operation is about to read the counter", NULL },
	{ PLANT_WINDOW, "sequence.run-claimed", "core/treemod/sequence.c",
	  "a run holds its place and does not know its limit yet", NULL },
	{ PLANT_WINDOW, "sequence.view-claimed", "core/treemod/sequence.c",
	  "a view holds its place and its cut is not taken yet", NULL },
	{ PLANT_WINDOW, "throttle.full", "core/delayed/throttle.c",
	  "an operation has found that too much is pending", NULL },
	{ PLANT_WINDOW, "throttle.relieved", "core/delayed/throttle.c",
	  "there is room, and who waits for it has not been woken", NULL },
	{ PLANT_WINDOW, "idtable.missed", "core/base/idtable.c",
	  "the key was not found, and its shard is not locked yet", NULL },
	{ PLANT_WINDOW, "idtable.grown", "core/base/idtable.c",
	  "a larger array is published, and the new key does not stand in it yet", NULL },
	{ PLANT_WINDOW, "rescan.between", "core/qgroup/live_rescan.c",
	  "a step of a rescan has ended, and the next has not begun", NULL },
	{ PLANT_WINDOW, "runs.loaded", "core/qgroup/runs.c",
	  "the word was looked at, and the exchange that depends on it comes next", NULL },
	{ PLANT_WINDOW, "runs.list-held", "core/qgroup/runs.c",
	  "a list is locked, and not changed yet", NULL },
	{ PLANT_WINDOW, "pool.park", "core/base/pool.c",
	  "a worker has seen no new job and is about to sleep", NULL },
	{ PLANT_WINDOW, "pool.publish", "core/base/pool.c",
	  "a job is published and the sleeping workers are not woken yet", NULL },
	{ PLANT_WINDOW, "pool.done", "core/base/pool.c",
	  "the last worker has returned from the job and the caller is not woken yet", NULL },
	{ PLANT_WINDOW, "pool.wait", "core/base/pool.c",
	  "the caller has seen workers at work and is about to sleep", NULL },
	{ PLANT_WINDOW, "reader.block", "core/disk/reader.c",
	  "a block has been read and is not handed on yet", NULL },
	{ PLANT_WINDOW, "rcu.observed", "core/base/rcu.h",
	  "a reader has a pointer and has not used it yet", NULL },
};

#define PLANT_COUNT (sizeof(plant_all) / sizeof(plant_all[0]))

/* The environment, read once by plant_environment_read. */
static pthread_once_t plant_once = PTHREAD_ONCE_INIT;
static const char *plant_bug;      /* as given; may be in no table */
static const char *plant_window;   /* as given, with the stall */
static size_t plant_window_length; /* of the name in plant_window; 0 if it is no name:number */
static uint64_t plant_stall_us;

const struct plant *plant_table(size_t *count)
{
	*count = PLANT_COUNT;
	return plant_all;
}

static bool plant_listed(enum plant_kind kind, const char *name, size_t length)
{
	for (size_t i = 0; i < PLANT_COUNT; i++)
		if (plant_all[i].kind == kind && strlen(plant_all[i].name) == length &&
		    !memcmp(plant_all[i].name, name, length))
			return true;
	return false;
}

static void plant_environment_read(void)
{
	const char *colon;
	char *end;

	plant_bug = getenv("REFSTORM_PLANT");
	plant_window = getenv("REFSTORM_WINDOW");
	colon = plant_window ? strrchr(plant_window, ':') : NULL;
	if (!colon || colon[1] < '0' || colon[1] > '9')
		return;
	errno = 0;
	plant_stall_us = strtoull(colon + 1, &end, 10);
	if (!errno && !*end)
		plant_window_length = (size_t)(colon - plant_window);
}

#ifdef RS_PLANTS
#define PLANT_HAS_BUGS true
#else
#define PLANT_HAS_BUGS false
#endif

#ifdef RS_WINDOWS
#define PLANT_HAS_WINDOWS true
#else
#define PLANT_HAS_WINDOWS false
#endif

int plant_environment_check(struct rs_error *error)
{
	pthread_once(&plant_once, plant_environment_read);
	if (plant_bug && !PLANT_HAS_BUGS)
		return error_set(error, -EINVAL,
				 "REFSTORM_PLANT is set, but this build has no planted bugs");
	if (plant_bug && !plant_listed(PLANT_BUG, plant_bug, strlen(plant_bug)))
		return error_set(error, -EINVAL, "REFSTORM_PLANT: no planted bug named '%s'",
				 plant_bug);
	if (plant_window && !PLANT_HAS_WINDOWS)
		return error_set(error, -EINVAL,
				 "REFSTORM_WINDOW is set, but this build has no windows");
	if (plant_window && !plant_window_length)
		return error_set(error, -EINVAL, "REFSTORM_WINDOW: '%s' is not name:microseconds",
				 plant_window);
	if (plant_window && !plant_listed(PLANT_WINDOW, plant_window, plant_window_length))
		return error_set(error, -EINVAL, "REFSTORM_WINDOW: no window named '%.*s'",
				 (int)plant_window_length, plant_window);
	return 0;
}

#ifdef RS_PLANTS
/* Relaxed: a sum, read when the threads that reach plants have been joined. */
static order_u64 plant_reached;

/* A byte into the file that who runs this program may have named. */
static void plant_reached_tell(void)
{
	const char *path = getenv("REFSTORM_PLANT_REACHED");
	int error = errno;
	int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		(void)!write(fd, "1", 1);
		close(fd);
	}
	errno = error;
}

bool plant_armed(const char *name)
{
	pthread_once(&plant_once, plant_environment_read);
	if (!plant_bug || strcmp(plant_bug, name) != 0)
		return false;
	if (!order_fetch_add_relaxed(&plant_reached, 1))
		plant_reached_tell();
	return true;
}

uint64_t plant_reached_count(void)
{
	return order_load_relaxed(&plant_reached);
}
#endif

#ifdef RS_WINDOWS
/* An order_ptr holds no pointer to a function, so the hook is a struct. */
static struct window_hook {
	window_fn *fn;
	void *argument;
} window_hook;
static order_ptr window_hooked;

void window_hook_set(window_fn *fn, void *argument)
{
	if (!fn) {
		/* Relaxed: takes the hook away and publishes nothing. */
		order_store_relaxed(&window_hooked, NULL);
		return;
	}
	window_hook.fn = fn;
	window_hook.argument = argument;
	/* WINDOW.hook: the two members of window_hook. */
	order_store_release(&window_hooked, &window_hook);
}

static void window_stall(void)
{
	struct timespec left = {
		.tv_sec = (time_t)(plant_stall_us / 1000000),
		.tv_nsec = (long)(plant_stall_us % 1000000) * 1000,
	};

	/* A signal does not shorten the stall. */
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

void window_pass(const char *name)
{
	const struct window_hook *hook;
	int error = errno;

	/* WINDOW.hook: sees the members as they were set. */
	hook = order_load_acquire(&window_hooked);
	if (hook)
		hook->fn(name, hook->argument);
	pthread_once(&plant_once, plant_environment_read);
	if (plant_window_length && strlen(name) == plant_window_length &&
	    !memcmp(name, plant_window, plant_window_length))
		window_stall();
	errno = error;
}
#endif
