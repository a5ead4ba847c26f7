/* cpagent: usage, exit statuses, and the foreground run with its output, signals and an agent that is restarted in
 * between. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/cli_agent.h"

static void wrong_usage_exits_with_2_and_one_sentence_that_says_what_to_do(void)
{
	CU_ASSERT_EQUAL(cpagent((const char *const[]){ NULL }), 2);
	CU_ASSERT(says(err_text, "cpagent: no command is given; see cpagent --help\n"));
	CU_ASSERT_EQUAL(CPAGENT("frobnicate"), 2);
	CU_ASSERT(says(err_text, "frobnicate: there is no such command"));
	CU_ASSERT_EQUAL(CPAGENT("migrate", "x", "--node", "y"), 2);
	CU_ASSERT(says(err_text, "not available in this version"));
	CU_ASSERT_EQUAL(CPAGENT("--frob", "ps"), 2);
	CU_ASSERT_EQUAL(CPAGENT("ps", "--frob"), 2);
	CU_ASSERT(says(err_text, "--frob: no such option"));
	CU_ASSERT_EQUAL(CPAGENT("ps", "extra"), 2);
	CU_ASSERT_EQUAL(CPAGENT("wait"), 2);
	CU_ASSERT(says(err_text, "wait: it takes [--timeout DUR] JOB"));
	CU_ASSERT_EQUAL(CPAGENT("wait", "--timeout"), 2);
	CU_ASSERT_EQUAL(CPAGENT("wait", "--timeout", "soon", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("signal", "FOO", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("signal", "0", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "--level", "0", "j"), 2);
	CU_ASSERT_EQUAL(CPAGENT("save", "file"), 2);
	CU_ASSERT_EQUAL(strlen(out), 0);
}

static void wrong_options_of_run_exit_with_2(void)
{
	static const char *const bad[][2] = {
		{ "--every", "auto" },
		{ "--every", "x" },
		{ "--level", "0" },
		{ "--keep", "0" },
		{ "--mode", "both" },
		{ "--restart", "never" },
		{ "--files", "everything" },
		{ "--tcp", "keep" },
		{ "--group", "g" },
		{ "--ranks", "2" },
		{ "--strategy", "one_for_all" },
		{ "--name", "a b" },
		{ "--name", UUID },
		{ "--spares", "a,b,c,d,e" },
		{ "--env", "NOVALUE" },
		{ "--env", "=x" },
		{ "--arena", "big" },
		{ "--arena", "1K" },
		{ "--arena", "513G" },
		{ "--max-restarts", "65" },
		{ "--max-seconds", "" },
		{ "--node", "../x" },
		{ "--unknown", "x" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int status = CPAGENT("run", bad[i][0], bad[i][1], "--", "true");

		CU_ASSERT_EQUAL(status, 2);
		CU_ASSERT(says(err_text, bad[i][0]));
	}
	CU_ASSERT_EQUAL(CPAGENT("run"), 2);
	CU_ASSERT_EQUAL(CPAGENT("run", "--"), 2);
}

static void help_of_every_command_has_an_example(void)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		CU_ASSERT_EQUAL(CPAGENT(cli_commands[i]->name, "--help"), 0);
		CU_ASSERT(says(out, "Example:\n"));
		CU_ASSERT(says(out, cli_commands[i]->summary));
	}
	CU_ASSERT_EQUAL(CPAGENT("--help"), 0);
	CU_ASSERT_EQUAL(CPAGENT("--version"), 0);
	CU_ASSERT(says(out, "cpagent 0."));
}

static void without_an_agent_every_command_exits_with_4_and_says_what_to_do(void)
{
	CU_ASSERT_EQUAL(CPAGENT("ps"), 4);
	CU_ASSERT(says(err_text, "cpagent: cannot reach the agent at "));
	CU_ASSERT(says(
	        err_text,
	        "/control.sock: No such file or directory; start cpagentd or name its directory with --run\n"));
	CU_ASSERT_EQUAL(CPAGENT("run", "true"), 4);
	CU_ASSERT_EQUAL(CPAGENT("wait", "j"), 4);
	CU_ASSERT_EQUAL(CPAGENT("logs", "-f", "j"), 4);
}

static void run_passes_on_the_command_this_process_and_the_options(void)
{
	const Cpa__Spec *s;
	struct rlimit r;
	mode_t mask;
	int env = 0;

	start();
	setenv("CLI_TEST", "old", 1);
	mask = umask(027);
	CU_ASSERT_EQUAL(CPAGENT("run", "-d", "--name", "heat", "--every", "5s", "--keep", "3", "--mode", "keyed",
	                        "--restart", "permanent", "--spares", "n2,n3", "--env", "CLI_TEST=new", "--tcp",
	                        "established", "ls", "-l", "--name"),
	                0);
	umask(mask);
	CU_ASSERT_STRING_EQUAL(out, "heat\n");
	s = agent.spec;
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT_EQUAL_FATAL(s->n_argv, 3);
	CU_ASSERT_EQUAL(memcmp(s->argv[2].data, "--name", 6), 0);
	CU_ASSERT_EQUAL(s->every_ns, UINT64_C(5000000000));
	CU_ASSERT_EQUAL(s->keep, 3);
	CU_ASSERT_EQUAL(s->level, 0);
	CU_ASSERT_EQUAL(s->mode, CPA__MODE__KEYED);
	CU_ASSERT_EQUAL(s->restart, CPA__RESTART__PERMANENT);
	CU_ASSERT_EQUAL(s->tcp, CPA__TCP__ESTABLISHED);
	CU_ASSERT_EQUAL(s->max_restarts, 3);
	CU_ASSERT_EQUAL_FATAL(s->n_spares, 2);
	CU_ASSERT_STRING_EQUAL(s->spares[1], "n3");
	CU_ASSERT_EQUAL(s->uid, getuid());
	CU_ASSERT_EQUAL(s->umask, 027);
	getrlimit(RLIMIT_NOFILE, &r);
	CU_ASSERT_EQUAL(s->limits[RLIMIT_NOFILE]->soft, r.rlim_cur);
	CU_ASSERT(s->affinity.len > 0);
	CU_ASSERT_EQUAL(s->cwd.data[0], '/');
	for (size_t i = 0; i < s->n_env; i++) {
		CU_ASSERT(s->env[i].len > 0);
		env += s->env[i].len == 12 && !memcmp(s->env[i].data, "CLI_TEST=new", 12);
		CU_ASSERT_FALSE(s->env[i].len == 12 && !memcmp(s->env[i].data, "CLI_TEST=old", 12));
	}
	CU_ASSERT_EQUAL(env, 1);
	stop();
}

static void run_in_the_foreground_is_the_job_to_the_shell(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "j", "--", "cmd"), 7);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	CU_ASSERT_STRING_EQUAL(err_text, stderr_text);
	CU_ASSERT_EQUAL(CPAGENT("run", "!nothing"), 127);
	CU_ASSERT_STRING_EQUAL(err_text, "cpagent: !nothing: there is no such command; check the path\n");
	stop();
}

static void run_in_the_foreground_forwards_a_signal_and_exits_as_the_job_does(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "held", "cmd"), 128 + SIGTERM);
	CU_ASSERT_EQUAL(agent.signalled, SIGTERM);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	stop();
}

static void run_in_the_foreground_goes_on_at_its_place_when_the_agent_is_restarted(void)
{
	start();
	agent.vanish = true;
	CU_ASSERT_EQUAL(CPAGENT("run", "--name", "j", "cmd"), 7);
	CU_ASSERT_STRING_EQUAL(out, stdout_text);
	CU_ASSERT_STRING_EQUAL(err_text, stderr_text);
	CU_ASSERT(!agent.vanish);
	stop();
}

static void checkpoint_and_restore_ask_for_what_was_said(void)
{
	start();
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "j"), 0);
	CU_ASSERT_STRING_EQUAL(out, "13\n");
	CU_ASSERT_EQUAL(asked("level"), 1);
	CU_ASSERT_EQUAL(CPAGENT("checkpoint", "j", "--level", "2", "--json"), 0);
	CU_ASSERT_EQUAL(asked("level"), 2);
	CU_ASSERT(says(out, "\"generation\": 13"));
	CU_ASSERT_EQUAL(CPAGENT("restore", "j", "--node", "n2", "--generation", "12", "--force"), 0);
	CU_ASSERT_STRING_EQUAL(out, "j runs on n2, incarnation 3\n");
	CU_ASSERT_EQUAL(asked("generation"), 12);
	CU_ASSERT(json_is_true(json_object_get(agent.last, "force")));
	stop();
}

static const struct test tests[] = {
	{ "wrong usage exits with 2 and one sentence that says what to do",
	  wrong_usage_exits_with_2_and_one_sentence_that_says_what_to_do },
	{ "wrong options of run exit with 2", wrong_options_of_run_exit_with_2 },
	{ "help of every command has an example", help_of_every_command_has_an_example },
	{ "without an agent, every command exits with 4 and says what to do",
	  without_an_agent_every_command_exits_with_4_and_says_what_to_do },
	{ "run passes on the command, this process and the options",
	  run_passes_on_the_command_this_process_and_the_options },
	{ "run in the foreground is the job to the shell", run_in_the_foreground_is_the_job_to_the_shell },
	{ "run in the foreground forwards a signal and exits as the job does",
	  run_in_the_foreground_forwards_a_signal_and_exits_as_the_job_does },
	{ "run in the foreground goes on at its place when the agent is restarted",
	  run_in_the_foreground_goes_on_at_its_place_when_the_agent_is_restarted },
	{ "checkpoint and restore ask for what was said", checkpoint_and_restore_ask_for_what_was_said },
};

int main(void)
{
	return cli_tests_run("cli", tests, sizeof tests / sizeof *tests);
}
