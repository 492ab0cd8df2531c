// Templates, overloads, lambdas and std::function. g++ -O1 -g -fno-omit-frame-pointer work.cpp -o work-cpp
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shop {

struct Price {
    virtual ~Price() = default;
    virtual long of(std::string const &name) const = 0;
};

template <typename Map> struct Table final : Price {
    Map prices;
    __attribute__((noinline)) long of(std::string const &name) const override
    {
        auto found = prices.find(name);
        return found == prices.end() ? 0 : found->second;
    }
};

__attribute__((noinline)) long operator+(std::vector<long> const &all, long more)
{
    for (long one : all)
        more += one;
    return more;
}

} // namespace shop

__attribute__((noinline)) static void apply(std::function<void(int)> const &each, int times)
{
    for (int i = 0; i < times; i++)
        each(i);
}

int main()
{
    auto table = std::make_unique<shop::Table<std::map<std::string, long>>>();
    for (int i = 0; i < 5000; i++)
        table->prices["thing number " + std::to_string(i)] = i;
    shop::Price const &price = *table;
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    long sum = 0;
    while (std::chrono::steady_clock::now() < end) {
        std::vector<long> found;
        apply([&](int i) { found.push_back(price.of("thing number " + std::to_string(i))); }, 5000);
        using shop::operator+;
        sum = found + sum;
    }
    std::cout << sum << '\n';
}
