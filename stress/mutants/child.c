/* SPDX-License-Identifier: MIT */
#include "stress/mutants/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/error.h"

#define NS_PER_S 1e9
#define PATH_BYTES 64

/* Between fork and exec, in the only thread. */
static void child_environment(const struct child_order *order, const char *mark)
{
	size_t at;

	unsetenv("REFSTORM_PLANT");
	unsetenv("REFSTORM_WINDOW");
	unsetenv("REFSTORM_PLANT_REACHED");
	for (at = 0; order->environment && order->environment[at]; at++)
		putenv((char *)order->environment[at]);
	if (order->plant) {
		setenv("REFSTORM_PLANT", order->plant, 1);
		setenv("REFSTORM_PLANT_REACHED", mark, 1);
	}
}

/* Does not return. What cannot be done goes to `report` as an errno. */
static _Noreturn void child_run(const struct child_order *order, const char *mark, int log,
				int report)
{
	/* A caught bug often ends in an abort: its core would only take time. */
	static const struct rlimit none = { 0, 0 };
	int input = open("/dev/null", O_RDONLY);
	int error;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &none);
	child_environment(order, mark);
	if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
	    dup2(log, STDERR_FILENO) >= 0 && (!order->folder || !chdir(order->folder)))
		execvp(order->command[0], (char *const *)order->command);
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

/* What the child reported before it became the program; 0 if it did become that. */
static int child_report(int report)
{
	int error = 0;
	ssize_t bytes;

	do
		bytes = read(report, &error, sizeof(error));
	while (bytes < 0 && errno == EINTR);
	return bytes == (ssize_t)sizeof(error) ? error : 0;
}

static int child_fork(struct child *child, const struct child_order *order)
{
	char mark[PATH_BYTES];
	int report[2];
	int error;

	snprintf(mark, sizeof(mark), "/proc/%ld/fd/%d", (long)getpid(), child->mark);
	if (pipe2(report, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	child->begin_ns = clock_now_ns();
	child->pid = fork();
	if (!child->pid)
		child_run(order, mark, fileno(child->log), report[1]);
	error = child->pid < 0 ? errno : 0;
	close(report[1]);
	if (!error) {
		/* Also here: who ends the group may come before the child has made it. */
		setpgid(child->pid, child->pid);
		error = child_report(report[0]);
		child->handle = error ? -1 : pidfd_open(child->pid, 0);
		if (!error && child->handle < 0) {
			error = errno;
			kill(-child->pid, SIGKILL);
		}
		if (error)
			waitpid(child->pid, NULL, 0);
	}
	close(report[0]);
	return -error;
}

int child_start(struct child *child, const struct child_order *order, struct rs_error *error)
{
	int ret;

	*child = (struct child){ .handle = -1 };
	child->limit_ns = (uint64_t)(order->limit_s * NS_PER_S);
	child->mark = memfd_create("reached", MFD_CLOEXEC);
	if (child->mark < 0)
		return error_set(error, -errno, "a file in memory: %s", strerror(errno));
	child->log = tmpfile();
	if (!child->log) {
		ret = error_set(error, -errno, "a file for what a test prints: %s",
				strerror(errno));
		goto close_mark;
	}
	ret = child_fork(child, order);
	if (!ret)
		return 0;
	error_set(error, ret, "%s: cannot be run: %s", order->command[0], strerror(-ret));
	fclose(child->log);
close_mark:
	close(child->mark);
	return ret;
}

uint64_t child_left_ns(const struct child *child)
{
	uint64_t used_ns = clock_now_ns() - child->begin_ns;

	return used_ns < child->limit_ns ? child->limit_ns - used_ns : 0;
}

void child_time_out(struct child *child)
{
	child->timed_out = true;
	kill(-child->pid, SIGKILL);
}

void child_cancel(struct child *child)
{
	child->canceled = true;
	kill(-child->pid, SIGKILL);
}

static void child_tail(FILE *log, char tail[CHILD_TAIL_BYTES])
{
	size_t bytes;

	if (fseek(log, -(long)(CHILD_TAIL_BYTES - 1), SEEK_END))
		rewind(log);
	bytes = fread(tail, 1, CHILD_TAIL_BYTES - 1, log);
	tail[bytes] = 0;
}

bool child_ended(struct child *child, struct child_end *end)
{
	siginfo_t about = { 0 };
	struct stat mark;

	/* Left to be collected until its group is gone, so that the number is not another's by then. */
	if (waitid(P_PID, (id_t)child->pid, &about, WEXITED | WNOHANG | WNOWAIT) || !about.si_pid)
		return false;
	end->seconds = (double)(clock_now_ns() - child->begin_ns) / NS_PER_S;
	kill(-child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	end->how = about.si_code == CLD_EXITED ? CHILD_EXITED : CHILD_SIGNALED;
	end->number = about.si_status;
	if (child->timed_out)
		end->how = CHILD_TIMED_OUT;
	if (child->canceled)
		end->how = CHILD_CANCELED;
	end->reached = !fstat(child->mark, &mark) && mark.st_size > 0;
	child_tail(child->log, end->tail);
	fclose(child->log);
	close(child->mark);
	close(child->handle);
	return true;
}
