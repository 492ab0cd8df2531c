// Lambdas, collections, strings. javac Work.java; java -XX:+PreserveFramePointer Work SECONDS
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class Work {
    interface Step { long apply(String text, int number); }

    static final class Shop {
        final Map<String, Integer> stock = new HashMap<>();
        void add(String name, int count) { stock.merge(name, count, Integer::sum); }
        long total() { return stock.values().stream().mapToLong(Integer::longValue).sum(); }
    }

    static long run(Step step, int times) {
        long sum = 0;
        for (int i = 0; i < times; i++) sum += step.apply("thing" + (i % 500), i);
        return sum;
    }

    static List<String> sorted(Shop shop) {
        List<String> names = new ArrayList<>(shop.stock.keySet());
        names.sort((a, b) -> b.compareTo(a));
        return names;
    }

    public static void main(String[] args) {
        long end = System.nanoTime() + Long.parseLong(args[0]) * 1_000_000_000L;
        long sum = 0;
        while (System.nanoTime() < end) {
            Shop shop = new Shop();
            sum += run((text, number) -> { shop.add(text, number); return text.hashCode(); }, 20000);
            sum += shop.total() + sorted(shop).size();
        }
        System.out.println(sum);
    }
}
