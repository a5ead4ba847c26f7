/* cpagent, the command line. Everything is in cli_main(), where tests reach it. */
#include "agent/cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
