/* Takes its arguments as osqueryd does, writes its process id where --pidfile says, and does nothing
 * more until it is ended. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

int main(int count, char **arguments) {
    static const char flag[] = "--pidfile=";
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--version")) {
            puts("osqueryd version 5.9.1");
            return 0;
        }
        if (!strncmp(arguments[i], flag, strlen(flag))) {
            FILE *file = fopen(arguments[i] + strlen(flag), "w");
            if (!file) {
                return 1;
            }
            fprintf(file, "%lu\n", GetCurrentProcessId());
            fclose(file);
        }
    }
    puts("osqueryd waits");
    fflush(stdout);
    Sleep(INFINITE);
    return 0;
}
