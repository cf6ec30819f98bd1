# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stream_relay_global_optspecs
    string join \n config= log-level= json print-default-config h/help V/version
end

function __fish_stream_relay_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stream_relay_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stream_relay_using_subcommand
    set -l cmd (__fish_stream_relay_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stream-relay -n "__fish_stream_relay_needs_command" -l config -d 'Read this configuration file, and config.d/*.toml next to it' -r -F
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l print-default-config -d 'Print the shipped configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -s V -l version -d 'Print version'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "serve" -d 'Run the relay'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "keygen" -d 'Create keys: the platform\'s, an API key, or a host\'s relay key'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "grant" -d 'Show and verify a grant'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "open" -d 'Open a target: print its URL, or connect local programs to it'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "sign-in-link" -d 'Print a link that signs a user in to the relay\'s page, once and within 10 minutes'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l config -d 'Read this configuration file, and config.d/*.toml next to it' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l json
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l config -d 'Read this configuration file, and config.d/*.toml next to it' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l systemd-dropin -d 'Print a drop-in for stream-relay.service that grants what the configuration needs: network access to NATS'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l configured -d 'Check only whether anything is configured. If not, print the first steps and exit with 1'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "issuer" -d 'Create the platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "api-key" -d 'Create a key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "relay-key" -d 'Create a host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l kid -d 'Name of the key, which each grant contains as `kid`' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l out -d 'Directory for both files. Default: the current one' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l name -d 'Name of the owner, for audit records. The key may act for this name only' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l host -d 'Id of the host' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "issuer" -d 'Create the platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "api-key" -d 'Create a key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "relay-key" -d 'Create a host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -f -a "inspect" -d 'Print the contents of a grant, and whether it is valid now'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l issuers -d 'Directory with the public keys for verification' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Print the contents of a grant, and whether it is valid now'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l platform -d 'Address of the platform, such as https://relay.example.com' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l api-key-file -d 'File with the key for the platform\'s API' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l ca-file -d 'File with certificates to trust in addition to the system\'s' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l mode -d 'Access mode: "ro" or "rw". Default: the target\'s own' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l param -d 'Set a parameter of the target. May be given several times' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l max-seconds -d 'End the session after this many seconds' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l url-file -d 'Read a client URL of another platform from this file, instead of HOST and TARGET. - reads standard input' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l listen -d 'Accept local connections at this address, each with its own stream. Port 0 picks a free port and prints it. unix:/PATH creates a socket that only its user can connect to' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l vv -d 'Write a file for a SPICE viewer (remote-viewer FILE), which opens the session through the relay alone. The file is a secret, new, and good for one viewer within 60 s. - prints it' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l viewer -d 'Show the screen in a viewer on this machine, and end with it: remote-viewer for SPICE, vncviewer for VNC, or PROGRAM. Needs no trust of the viewer in the relay\'s certificate' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l as -d 'With --viewer and --vv: what the target\'s screen speaks. Default: what the host says' -r -f -a "spice\t''
vnc\t''"
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l raw -d 'With --stdio on a terminal: whether to send every key to the target, including Ctrl-C' -r -f -a "auto\t'Yes, unless the target is known to be read-only or not a terminal'
yes\t'Always, for example for a serial console behind a socket'
no\t'Never'"
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l escape -d 'With --stdio: the escape key, recognised at the start of a line. A character, ^ and a letter for a control character, or none. KEY. leaves, KEY? lists all escapes. Default: ~ on a terminal, otherwise none' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l filter -d 'With --stdio: show only the lines of a log that match this regular expression. The host filters them. Lines that it sent before it received the filter still appear' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l since -d 'With --stdio: restart a log from this time: a duration ago, such as 2h, or @SECONDS since 1970' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l stdio -d 'Connect standard input and output to the target. With a terminal at both ends, this is a remote console'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l ws -d 'Print the websocket URL, for a program, and not that of the page that shows the target in a browser'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l invert -d 'With --filter: show the lines that do not match'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l platform -d 'Address of the platform, such as https://relay.example.com' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l api-key-file -d 'File with the key for the platform\'s API' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l ca-file -d 'File with certificates to trust in addition to the system\'s' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l user -d 'The user to sign in. The key must list the name in `users`. Default: the key\'s own name' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l config -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l log-level -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand sign-in-link" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "serve" -d 'Run the relay'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "keygen" -d 'Create keys: the platform\'s, an API key, or a host\'s relay key'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "grant" -d 'Show and verify a grant'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "open" -d 'Open a target: print its URL, or connect local programs to it'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "sign-in-link" -d 'Print a link that signs a user in to the relay\'s page, once and within 10 minutes'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open sign-in-link help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "issuer" -d 'Create the platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "api-key" -d 'Create a key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "relay-key" -d 'Create a host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from grant" -f -a "inspect" -d 'Print the contents of a grant, and whether it is valid now'
