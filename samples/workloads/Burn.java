// Burn SECONDS: a JVM whose code is known. The thread `burner` is in Burn.outer → Burn.middle → Burn.spin, called by its
// run(), for all but a trace of the time. It says `burning` once its code is compiled. Started with -XX:CompileCommand=dontinline,Burn::* the four stay apart.
//
// Burn SECONDS phases: every half second the same loop is a new class's, Phase0001, Phase0002 …, and its forerunner is
// unloaded: its code is in no later map.
//
// Burn SECONDS deaf: also listens on /tmp/.java_pid<its pid> itself, and never answers.
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Constructor;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.function.LongUnaryOperator;

public class Burn {
    static volatile long sink;
    static ServerSocketChannel deaf;

    static long spin(long seed) {
        long x = seed | 1;
        for (int i = 0; i < 100_000; i++) {
            x ^= x << 13;
            x ^= x >>> 7;
            x ^= x << 17;
        }
        return x;
    }

    static long middle(long seed) {
        return spin(seed) + 1;
    }

    static long outer(long seed) {
        return middle(seed) + 1;
    }

    static void burn(long untilNanos, LongUnaryOperator work) {
        for (int calls = 1; System.nanoTime() < untilNanos; calls++) {
            sink = work.applyAsLong(sink);
            if (calls == 1_500) {
                System.out.println("burning");
            }
        }
    }

    static void phases(long untilNanos) throws ReflectiveOperationException, IOException {
        byte[] code;
        try (InputStream in = Burn.class.getResourceAsStream("Phase0000.class")) {
            code = in.readAllBytes();
        }
        for (int phase = 1; System.nanoTime() < untilNanos; phase++) {
            String name = String.format("Phase%04d", phase);
            burn(System.nanoTime() + 500_000_000L, renamed(code, name));
            System.gc();
        }
    }

    static LongUnaryOperator renamed(byte[] code, String name) throws ReflectiveOperationException {
        String text = new String(code, StandardCharsets.ISO_8859_1).replace("Phase0000", name);
        byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
        ClassLoader loader = new ClassLoader(Burn.class.getClassLoader()) {
            @Override
            protected Class<?> findClass(String wanted) {
                return defineClass(wanted, bytes, 0, bytes.length);
            }
        };
        Constructor<?> made = loader.loadClass(name).getDeclaredConstructor();
        made.setAccessible(true);
        return (LongUnaryOperator) made.newInstance();
    }

    public static void main(String[] arguments) throws Exception {
        long until = System.nanoTime() + Long.parseLong(arguments[0]) * 1_000_000_000L;
        String how = arguments.length > 1 ? arguments[1] : "";
        if (how.equals("deaf")) {
            String path = "/tmp/.java_pid" + ProcessHandle.current().pid();
            deaf = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            deaf.bind(UnixDomainSocketAddress.of(path));
        }
        Thread burner = new Thread(() -> {
            try {
                if (how.equals("phases")) {
                    System.out.println("burning");
                    phases(until);
                } else {
                    burn(until, Burn::outer);
                }
            } catch (ReflectiveOperationException | IOException error) {
                throw new IllegalStateException(error);
            }
        }, "burner");
        burner.start();
        burner.join();
    }
}

class Phase0000 implements LongUnaryOperator {
    @Override
    public long applyAsLong(long seed) {
        long x = seed | 1;
        for (int i = 0; i < 100_000; i++) {
            x ^= x << 13;
            x ^= x >>> 7;
            x ^= x << 17;
        }
        return x;
    }
}
