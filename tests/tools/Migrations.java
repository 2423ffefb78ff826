import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.util.logging.LogManager;
import liquibase.Liquibase;
import liquibase.Scope;
import liquibase.changelog.ChangeLogHistoryServiceFactory;
import liquibase.changelog.FastCheckService;
import liquibase.database.DatabaseFactory;
import liquibase.database.jvm.JdbcConnection;
import liquibase.lockservice.LockServiceFactory;
import liquibase.resource.DirectoryResourceAccessor;
import org.flywaydb.core.Flyway;

/**
 * Flyway and Liquibase, one command a line of stdin: the tool, a JDBC URL, a folder of migrations,
 * a schema and a number, between tabs. Answers a line each: "ok", or what went wrong. One process
 * for many commands, since starting it takes longer than they do.
 */
public class Migrations {
    public static void main(String[] none) throws Exception {
        LogManager.getLogManager().reset();
        var answers = System.out;
        System.setOut(System.err);
        var commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = commands.readLine()) != null;) {
            String[] word = line.split("\t");
            int number = Integer.parseInt(word[4]);
            try {
                if (word[0].equals("flyway")) {
                    flyway(word[1], Path.of(word[2]), word[3], number);
                } else {
                    liquibase(word[1], Path.of(word[2]), word[3], number);
                }
                answers.println("ok");
            } catch (Exception error) {
                answers.println(String.valueOf(error.getMessage()).replaceAll("\\s+", " "));
            }
        }
    }

    /** Up to version number. */
    private static void flyway(String url, Path folder, String schema, int number) {
        Flyway.configure().dataSource(url, "postgres", "").locations("filesystem:" + folder)
            .defaultSchema(schema).table("outbox_relay_history").baselineOnMigrate(true)
            .baselineVersion("0").target(String.valueOf(number)).load().migrate();
    }

    /** So many changesets up, or down where number is negative. */
    private static void liquibase(String url, Path folder, String schema, int number)
            throws Exception {
        // What it remembers of the last command; on a command line each has a process of its own.
        Scope.getCurrentScope().getSingleton(FastCheckService.class).clearCache();
        ChangeLogHistoryServiceFactory.getInstance().resetAll();
        LockServiceFactory.getInstance().resetAll();
        var database = DatabaseFactory.getInstance().findCorrectDatabaseImplementation(
            new JdbcConnection(DriverManager.getConnection(url, "postgres", "")));
        database.setDefaultSchemaName(schema);
        try (var tool = new Liquibase("outbox_relay.sql", new DirectoryResourceAccessor(folder),
                database)) {
            if (number < 0) {
                tool.rollback(-number, "");
            } else {
                tool.update(number, "");
            }
        }
    }
}
