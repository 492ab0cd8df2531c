// What stackcollapse-perf.pl does not read: an anonymous namespace, a comm with a number, a file that is gone.
// g++ -O1 -g -fno-omit-frame-pointer odd.cpp -o odd; ./odd & sleep 1; rm odd
#include <ctime>
#include <memory>
#include <sys/prctl.h>

namespace {

struct Cell {
    unsigned value;
    __attribute__((noinline)) unsigned mixed(unsigned by) const { return value * 33 + by; }
};

struct Holder {
    std::unique_ptr<Cell> cell;
    __attribute__((noinline)) Cell *operator->() const { return cell.get(); }
};

__attribute__((noinline)) unsigned work(Holder const &holder, unsigned times)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < times; i++)
        sum += holder->mixed(i);
    return sum;
}

} // namespace

int main()
{
    Holder holder{std::make_unique<Cell>(Cell{7})};
    unsigned sum = 0;
    time_t end = time(nullptr) + 3;
    for (unsigned turn = 0; time(nullptr) < end; turn++) {
        prctl(PR_SET_NAME, turn % 2 ? "worker 12" : "w");
        sum += work(holder, 2000000);
    }
    return sum == 0;
}
