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

complete -c stream-relay -n "__fish_stream_relay_needs_command" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -l print-default-config -d 'Print the shipped configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -s V -l version -d 'Print version'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "serve" -d 'Run the relay'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "keygen" -d 'Make keys: the platform\'s, an API key, or a host\'s relay key'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "grant" -d 'Look at a grant'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "open" -d 'Open a target: print its URL, or bridge local tools to it'
complete -c stream-relay -n "__fish_stream_relay_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand serve" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l systemd-dropin -d 'Print the drop-in for stream-relay.service that the configuration needs: the bundled platform\'s way to NATS'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l configured -d 'Only say what to do first, with exit code 1, when nothing at all is configured'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "issuer" -d 'The platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "api-key" -d 'A key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "relay-key" -d 'A host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and not __fish_seen_subcommand_from issuer api-key relay-key help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l kid -d 'Name of the key, which grants carry as `kid`' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l out -d 'Folder for both files' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from issuer" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l name -d 'Name of its owner, for the audit; the key speaks for this name only' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from api-key" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l host -d 'The host' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from relay-key" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "issuer" -d 'The platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "api-key" -d 'A key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "relay-key" -d 'A host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand keygen; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -f -a "inspect" -d 'Print what a grant says, and whether it would be believed'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and not __fish_seen_subcommand_from inspect help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l issuers -d 'Folder with the public keys to verify with' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Print what a grant says, and whether it would be believed'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand grant; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l platform -d 'The platform\'s address, such as https://relay.example.com' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l api-key-file -d 'File with a key for the platform\'s API' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l ca-file -d 'Trust besides the system\'s' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l mode -d '"ro" or "rw"; the target\'s own default if not given' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l param -d 'Parameter of a templated target; may be given several times' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l max-seconds -d 'Hard end of the session' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l url-file -d 'File with a client URL of another platform, instead of HOST and TARGET; - reads standard input' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l listen -d 'Accept local connections here, and give each a stream of its own. Port 0: one is chosen and printed. unix:/PATH is a socket that only its user can connect to' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l raw -d 'With --stdio on a terminal: whether every key goes to the target, Ctrl-C too' -r -f -a "auto\t'Unless the target is known to be no terminal, or read-only'
yes\t'Always: such as for a serial console behind a socket'
no\t'Never'"
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l escape -d 'With --stdio: the key that begins an escape at the beginning of a line: a character, ^ and a letter for a control character, or none. KEY. leaves, KEY? lists what there is. Default: ~ on a terminal, else none' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l filter -d 'With --stdio: only the lines of a log that match this regular expression, chosen on the host. Lines that it sent before it heard of this come nevertheless' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l since -d 'With --stdio: begin a log anew with what was written since then: a time ago, as 2h, or @SECONDS since 1970' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l config -d 'Configuration file; config.d/*.toml beside it is read too' -r -F
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l stdio -d 'Bridge standard input and output. On a terminal, and with a terminal as target: a remote console'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l invert -d 'With --filter: the lines that do not match'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -l json -d 'Print results as JSON'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "serve" -d 'Run the relay'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "keygen" -d 'Make keys: the platform\'s, an API key, or a host\'s relay key'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "grant" -d 'Look at a grant'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "open" -d 'Open a target: print its URL, or bridge local tools to it'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and not __fish_seen_subcommand_from serve check-config keygen grant open help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "issuer" -d 'The platform\'s key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "api-key" -d 'A key for the platform\'s API'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from keygen" -f -a "relay-key" -d 'A host\'s relay key, for simple mode'
complete -c stream-relay -n "__fish_stream_relay_using_subcommand help; and __fish_seen_subcommand_from grant" -f -a "inspect" -d 'Print what a grant says, and whether it would be believed'
