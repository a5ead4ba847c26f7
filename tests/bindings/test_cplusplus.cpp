/* cpagent.hpp as a program uses it. Run with a fresh directory; prints "N passed, N failed". */
#include <cpagent.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

using cpagent::var;

static int passed, failed;

static void test(const char *sentence, bool holds)
{
	if (!holds)
		std::printf("FAILED: %s\n", sentence);
	++(holds ? passed : failed);
}

static_assert(cpagent::type_of<long> == CPA_I64 && cpagent::type_of<unsigned char> == CPA_U8 &&
	      cpagent::type_of<short> == CPA_I16 && cpagent::type_of<unsigned> == CPA_U32, "integers");
static_assert(cpagent::type_of<std::complex<float>> == CPA_C32 && cpagent::type_of<std::complex<double>> == CPA_C64,
	      "complex numbers");
#ifdef __x86_64__
static_assert(cpagent::type_of<long double> == CPA_F80 && cpagent::type_of<std::complex<long double>> == CPA_C80,
	      "long double");
#endif
static_assert(cpagent::type_of<std::string> == 0, "objects have no type");

static void types_go_there_and_back(cpagent::checkpoints &cp)
{
	std::vector<double> u(10, 2.5);
	std::array<short, 3> v{1, 2, 3};
	std::string text = "four";
	std::complex<float> c{1, 2};
	long double l = 1.0L / 3;
	int grid[3][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}};
	const unsigned char constant = 200;
	bool yes = true;

	cp.checkpoint("types", 1, var("u", u), var("v", v), var("text", text), var("c", c), var("l", l), var("grid", grid),
		      var("constant", constant), var("yes", yes));
	u.assign(10, 0), v.fill(0), text = "none", c = 0, l = 0, grid[2][3] = 0, yes = false;
	unsigned char back = 0;
	test("what was checkpointed is restored",
	     cp.restore("types", 0, var("u", u), var("v", v), var("text", text), var("c", c), var("l", l),
			var("grid", grid), var("constant", back), var("yes", yes)) &&
		     u[9] == 2.5 && v[2] == 3 && text == "four" && c == std::complex<float>(1, 2) && l == 1.0L / 3 &&
		     grid[2][3] == 12 && back == 200 && yes);
}

static int code_of(cpagent::checkpoints &cp, std::string &what)
{
	std::vector<float> u(10);

	try {
		cp.restore("types", 0, var("u", u));
	} catch (const cpagent::error &e) {
		what = e.what();
		return e.code;
	}
	return 0;
}

int main(int, char **argv)
{
	std::string what;
	cpagent::checkpoints cp(argv[1]);
	long step = 0;

	test("a key that is not there is no error", !cp.restore("nothing", 0, var("step", step)));
	types_go_there_and_back(cp);
	test("another type is refused", code_of(cp, what) == CPA_ERR_VAR);
	test("the error names the variable", what.find("variable u") != std::string::npos);

	cpagent::checkpoints named(argv[1], "named", 1 << 20);
	named.checkpoint("step", 1, var("step", step));
	test("an arena can have a name and a budget", !cp.restore("step", 0, var("step", step)) &&
						      named.restore("step", 0, var("step", step)));

	std::vector<double> region(100000, 1.0);
	cp.protect("region", region);
	cpagent::check(cpa_checkpoint_protected(cp.get(), "regions", 1));
	region[99999] = 2.0;
	cpagent::check(cpa_restore_protected(cp.get(), "regions", 0));
	test("a protected container is restored", region[99999] == 1.0);
	cpa_unprotect(cp.get(), nullptr);

	test("the first checkpoint is due at once", cp.should_checkpoint());
	cpagent::checkpoints moved = std::move(cp);
	bool yes = false;
	test("a handle can be moved", moved.restore("types", 0, var("yes", yes)) && yes);
	std::printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
