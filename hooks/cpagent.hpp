/* cpagent.hpp: cpagent.h for C++17. A variable is a number, a bool, a complex number, or anything contiguous of these:
 * an array of any dimension, vector, array, string, span. Errors are exceptions. Every other call takes cp.get().
 *
 *	cpagent::checkpoints cp;
 *	std::vector<double> u(n);
 *	long step = 0;
 *
 *	cp.restore("state", 0, cpagent::var("step", step), cpagent::var("u", u));
 *	for (; step < steps; step++, advance(u))
 *		if (cp.should_checkpoint())
 *			cp.checkpoint("state", 1, cpagent::var("step", step), cpagent::var("u", u)); */
#ifndef CPAGENT_HPP
#define CPAGENT_HPP

#include <complex>
#include <cstddef>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <type_traits>

#include "cpagent.h"

namespace cpagent {

/* The element type; 0: T has none. */
template <class T> inline constexpr uint32_t type_of =
	!std::is_integral_v<T> ? 0 :
	CPA_I8 + 2 * (sizeof(T) > 1) + 2 * (sizeof(T) > 2) + 2 * (sizeof(T) > 4) + std::is_unsigned_v<T>;
template <> inline constexpr uint32_t type_of<bool> = CPA_BOOL;
template <> inline constexpr uint32_t type_of<char> = CPA_CHAR;
template <> inline constexpr uint32_t type_of<std::byte> = CPA_BYTE;
template <> inline constexpr uint32_t type_of<float> = CPA_F32;
template <> inline constexpr uint32_t type_of<double> = CPA_F64;
template <> inline constexpr uint32_t type_of<long double> =
	sizeof(long double) == 8 ? CPA_F64 : __LDBL_MANT_DIG__ == 64 ? CPA_F80 : CPA_F128;
template <class T> inline constexpr uint32_t type_of<std::complex<T>> = type_of<T> + CPA_C64 - CPA_F64;

struct error : std::runtime_error {
	int code; /* a cpa_error */
	explicit error(int rc) : std::runtime_error(cpa_strerror(rc)), code(rc) {}
};

inline int check(int rc) { return rc < 0 ? throw error(rc) : rc; }

struct constant : cpa_var {}; /* a variable that cannot be restored */

/* A variable under a name. Both are borrowed. */
template <class T> auto var(const char *name, T &x)
{
	const auto made = [name](auto *data, std::size_t count) {
		using given = std::remove_pointer_t<decltype(data)>;
		using element = std::remove_cv_t<given>;
		static_assert(type_of<element> != 0, "a checkpoint has numbers, not objects: name the members one by one");
		const cpa_var v{name, const_cast<element *>(data), count, type_of<element>};
		if constexpr (std::is_const_v<given>)
			return constant{v};
		else
			return v;
	};
	using element = std::remove_all_extents_t<T>;

	if constexpr (std::is_array_v<T>)
		return made(reinterpret_cast<element *>(&x), sizeof(T) / sizeof(element));
	else if constexpr (type_of<std::remove_cv_t<T>> != 0)
		return made(&x, 1);
	else
		return made(std::data(x), std::size(x));
}

class checkpoints {
	std::unique_ptr<cpa, decltype(&cpa_close)> cp{nullptr, cpa_close};

public:
	explicit checkpoints(const char *where = nullptr, const char *name = nullptr, uint64_t budget = 0)
	{
		cpa *opened;
		check(cpa_open_named(&opened, where, name, budget));
		cp.reset(opened);
	}
	cpa *get() const { return cp.get(); }

	template <class... Vars> void checkpoint(const char *key, int level, const Vars &...vars)
	{
		const cpa_var list[] = {vars...};
		check(cpa_checkpoint_vars(get(), key, level, list, sizeof...(vars)));
	}
	/* false: there is no such key. A container has to have the checkpoint's size: see cpa_query(). */
	template <class... Vars> bool restore(const char *key, int level, const Vars &...vars)
	{
		static_assert((!std::is_same_v<Vars, constant> && ...), "a constant cannot be restored");
		const cpa_var list[] = {vars...};
		const int rc = cpa_restore_vars(get(), key, level, list, sizeof...(vars));
		return rc != CPA_ERR_KEY && check(rc) >= 0;
	}
	/* Until cpa_unprotect() the memory stays where it is: no container that grows. */
	template <class T> void protect(const char *name, T &x)
	{
		const auto v = var(name, x);
		static_assert(std::is_same_v<decltype(v), const cpa_var>, "a constant cannot be restored");
		check(cpa_protect(get(), name, v.data, v.count, static_cast<int>(v.type)));
	}
	bool should_checkpoint() { return check(cpa_should_checkpoint(get())) == 1; }
};

} // namespace cpagent

#endif
