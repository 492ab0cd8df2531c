// JvmLoad SECONDS: recursion and map churn in compiled Java code, on one thread, with garbage to collect.
// A JVM to profile. Run it with frame pointers: java -XX:+PreserveFramePointer -Xmx128m JvmLoad.java 60
import java.util.HashMap;
import java.util.Map;

public class JvmLoad {
    static long descend(int n) {
        return n < 2 ? n : descend(n - 1) + descend(n - 2);
    }

    static int churn(int n) {
        Map<String, Integer> counts = new HashMap<>();
        for (int i = 0; i < n; i++) {
            counts.merge("key" + (i % 997), i, Integer::sum);
        }
        return counts.size();
    }

    public static void main(String[] arguments) {
        long end = System.nanoTime() + Long.parseLong(arguments[0]) * 1_000_000_000L;
        long sum = 0;
        while (System.nanoTime() < end) {
            sum += descend(27) + churn(20_000);
        }
        System.out.println(sum);
    }
}
