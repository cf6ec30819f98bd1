# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stream_agent_global_optspecs
    string join \n config= log-level= json print-default-config h/help V/version
end

function __fish_stream_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stream_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stream_agent_using_subcommand
    set -l cmd (__fish_stream_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stream-agent -n "__fish_stream_agent_needs_command" -l config -d 'Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too' -r -F
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l json -d 'Print results as JSON'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l print-default-config -d 'Print the shipped configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -s V -l version -d 'Print version'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "run" -d 'Run the agent'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "targets" -d 'Show what may be opened'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "test-dial" -d 'Go the way of a stream step by step, and say what would fail and what would mend it'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l config -d 'Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l json -d 'Print results as JSON'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l config -d 'Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l configured -d 'Only say what to do first, with exit code 1, when nothing at all is configured'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l json -d 'Print results as JSON'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l config -d 'Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l systemd-dropin -d 'Print the drop-in for stream-agent.service that gives the targets what they need: groups, devices. As root'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l json -d 'Print results as JSON'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l target -d 'Probe only this target' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l config -d 'Configuration file; config.d/*.toml and targets.d/*.toml beside it are read too' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l log-level -d 'Log level, or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l json -d 'Print results as JSON'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets test-dial help" -f -a "run" -d 'Run the agent'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets test-dial help" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets test-dial help" -f -a "targets" -d 'Show what may be opened'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets test-dial help" -f -a "test-dial" -d 'Go the way of a stream step by step, and say what would fail and what would mend it'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets test-dial help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
