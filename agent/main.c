/* cpagentd: one agent in the foreground. Owns the loop, the signals, and being told apart from a crash by systemd.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/setup.h"
#include "agent/version.h"
#include "agent/work.h"
#include "lib/base/log.h"

#define WORKERS 32

static struct agent agent;
static uv_signal_t on_term, on_int, on_hup;

/* The service manager's protocol: one datagram to the socket it names. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!path || strlen(path) >= sizeof sa.sun_path)
		return;
	memcpy(sa.sun_path, path, strlen(path));
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa, len);
	close(fd);
}

static void stop(uv_signal_t *s, int signo)
{
	(void)s;
	log_info("stopping", "signal=%d", signo);
	notify("STOPPING=1");
	setup_close(&agent);
	uv_close((uv_handle_t *)&on_term, NULL);
	uv_close((uv_handle_t *)&on_int, NULL);
	uv_close((uv_handle_t *)&on_hup, NULL);
}

static void reload(uv_signal_t *s, int signo)
{
	(void)s, (void)signo;
	setup_reload(&agent);
}

static void watch_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	uv_signal_init(&agent.loop, &on_term);
	uv_signal_init(&agent.loop, &on_int);
	uv_signal_init(&agent.loop, &on_hup);
	uv_signal_start(&on_term, stop, SIGTERM);
	uv_signal_start(&on_int, stop, SIGINT);
	uv_signal_start(&on_hup, reload, SIGHUP);
}

int main(int argc, char *argv[])
{
	struct err e = { 0 };
	work_threads(WORKERS);
	int rc = config_load(argc, argv, &agent.cfg, &e);
	if (rc == 1)
		return 0;
	if (rc < 0) {
		fprintf(stderr, "cpagentd: %s\n", e.text);
		return err_exit_status(rc);
	}
	agent.argc = argc;
	agent.argv = argv;
	log_open(agent.cfg.name, agent.cfg.verbose ? LOG_EVENT_DEBUG : LOG_EVENT_INFO);
	uv_loop_init(&agent.loop);
	watch_signals();
	rc = setup_open(&agent, &e);
	if (rc < 0) {
		fprintf(stderr, "cpagentd: %s\n", e.text);
		return err_exit_status(rc); /* what was opened is the kernel's to close */
	}
	log_info("ready", "version=%s level=%u run=%s state=%s", CPAGENT_VERSION, agent.cfg.level, agent.cfg.run,
	         agent.cfg.state);
	notify("READY=1");
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	log_info("stopped", "jobs=left_running");
	return 0;
}
